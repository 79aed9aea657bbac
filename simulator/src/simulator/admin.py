"""`/__sim/`: how a test steers the simulator and reads what happened. No provider has these routes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from simulator.clock import Clock
from simulator.faults import FAULTS, Faults, UnknownFaultError, read_wishes
from simulator.fields import Fields, InvalidFieldError
from simulator.journal import Journal
from simulator.latency import Latency
from simulator.pictures import Gallery

PROVIDERS = (
    "", "ark", "openai", "anthropic", "compatible",
    "stability", "fal", "replicate", "elevenlabs", "runway", "google", "flow",
)  # fmt: skip


class Admin:
    def __init__(self, clock: Clock, latency: Latency, faults: Faults, journal: Journal, gallery: Gallery) -> None:
        self._clock, self._latency, self._faults = clock, latency, faults
        self._journal, self._gallery = journal, gallery

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/__sim/health", self.health),
            web.get("/__sim/faults", self.faults),
            web.put("/__sim/scenario", self.push_scenario),
            web.get("/__sim/scenario", self.scenarios),
            web.get("/__sim/journal", self.journal),
            web.delete("/__sim/journal", self.clear_journal),
            web.post("/__sim/reset", self.reset),
            web.put("/__sim/latency", self.set_latency),
            web.post("/__sim/clock", self.advance_clock),
        ]

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "status": "ok",
                "now": self._clock.now(),
                "latency": self._latency.mode,
                "journal_sequence": self._journal.sequence,
                "pictures_drawn": self._gallery.drawn,
            }
        )

    async def faults(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in FAULTS.values()])

    async def push_scenario(self, request: web.Request) -> web.Response:
        """`{"provider"?: one of PROVIDERS, "prompt_contains"?: text, "outcomes": ["429", "ok", …]}`"""
        fields = await _fields(request, {"provider", "prompt_contains", "outcomes"})
        outcomes = fields.get("outcomes")
        if not isinstance(outcomes, list) or not outcomes or not all(isinstance(one, str) for one in outcomes):
            raise _bad("outcomes must be a list of faults")
        try:
            for outcome in outcomes:
                read_wishes(outcome)
            provider = fields.choice("provider", PROVIDERS, "")
            length = self._faults.queue(provider, fields.text("prompt_contains", ""), outcomes)
        except (UnknownFaultError, InvalidFieldError) as error:
            raise _bad(str(error)) from None
        return web.json_response({"queued": length})

    async def scenarios(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {"provider": provider, "prompt_contains": text, "outcomes": list(queue)}
                for (provider, text), queue in self._faults.scenarios.items()
            ]
        )

    async def journal(self, request: web.Request) -> web.Response:
        """`?since=N` answers only entries with a higher sequence."""
        since = request.query.get("since", "0")
        if not since.isdigit():
            raise _bad("since must be a sequence number")
        return web.json_response([asdict(entry) for entry in self._journal.since(int(since))])

    async def clear_journal(self, _: web.Request) -> web.Response:
        self._journal.clear()
        return web.json_response({"journal_sequence": self._journal.sequence})

    async def reset(self, _: web.Request) -> web.Response:
        """Everything as at the start, except that sequence numbers go on and handed-out URLs stay known."""
        self._faults.reset()
        self._journal.clear()
        self._latency.reset()
        self._clock.offset_seconds = 0.0
        return web.json_response({"status": "ok"})

    async def set_latency(self, request: web.Request) -> web.Response:
        """`{"mode": "none"|"real", "scale"?: 0.1}` or `{"seconds": 0.05}`."""
        fields = await _fields(request, {"mode", "scale", "seconds"})
        try:
            mode = str(fields.number("seconds", 0, 3600, 0)) if fields.has("seconds") else fields.text("mode", "none")
            self._latency.set(mode, fields.number("scale", 0, 1000, 1))
        except (InvalidFieldError, ValueError) as error:
            raise _bad(str(error)) from None
        return web.json_response({"mode": self._latency.mode, "scale": self._latency.scale})

    async def advance_clock(self, request: web.Request) -> web.Response:
        """`{"seconds": 86400}`; answers the new now."""
        fields = await _fields(request, {"seconds"})
        try:
            self._clock.advance(fields.number("seconds", 0, 10 * 365 * 86_400, 0))
        except InvalidFieldError as error:
            raise _bad(str(error)) from None
        return web.json_response({"now": self._clock.now()})


async def _fields(request: web.Request, known: set[str]) -> Fields:
    try:
        body: Any = await request.json()
        if not isinstance(body, dict):
            raise _bad("the body must be a JSON object")
        return Fields(body, known)
    except ValueError:
        raise _bad("the body must be JSON") from None
    except InvalidFieldError as error:
        raise _bad(str(error)) from None


def _bad(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=reason)

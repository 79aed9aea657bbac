"""Replicate under `/replicate`: predictions, their cancellation, and webhooks by Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.calls import Answer, Call, Job, Product
from simulator.desk import Desk, plain, shaped
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.latency import SUBMISSION, Spread
from simulator.pictures import Recipe
from simulator.refusals import Refusal
from simulator.tasks import FINAL, State, Task

KEPT_SECONDS = 30 * 24 * 3600
OUTPUT_SECONDS = 3600
"""After which inputs and outputs are deleted."""
SECRET = base64.b64encode(b"a simulated secret of 32 octets!").decode()
PICTURE_SIDE = 768
_EVENTS = ("start", "output", "logs", "completed")
_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")


@dataclass(frozen=True, slots=True)
class Model:
    """`start` is what it calls the picture that it starts from; `durations` are a film's, none for pictures."""

    version: str
    known: frozenset[str]
    spread: Spread
    durations: tuple[int, ...] = ()
    start: str = ""
    several: bool = False
    ratios: tuple[str, ...] = _RATIOS
    resolution: int = PICTURE_SIDE


_FLUX = frozenset({"prompt", "aspect_ratio", "num_outputs", "seed", "output_format", "output_quality", "go_fast"})
MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "black-forest-labs/flux-schnell": Model(
            "c846a69991daf4c0e5d016514849d14ee5b2e6846ce6b9d6f21369e564cfe51e", _FLUX, Spread(0.5, 3), several=True
        ),
        "black-forest-labs/flux-dev": Model(
            "6e4a938f85952bdabcc15aa329178c4d681c52bf25a0342403287dc26944661d",
            _FLUX | {"image", "prompt_strength", "guidance", "num_inference_steps"},
            Spread(3, 10),
            several=True,
            start="image",
        ),
        "kwaivgi/kling-v2.1": Model(
            "daad218feb714b03e2a1ac445986aebb9d05243cd00da2af17be2e4049f48f69",
            frozenset({"prompt", "negative_prompt", "duration", "start_image", "mode", "aspect_ratio"}),
            Spread(60, 240),
            (5, 10),
            "start_image",
            ratios=("16:9", "9:16", "1:1"),
            resolution=720,
        ),
    }
)
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "401": (401, "Unauthenticated", "You did not pass a valid authentication token"),
    "403": (403, "Forbidden", "You do not have permission to perform this action"),
    "404": (404, "Not found", "The requested resource could not be found."),
    "413": (413, "Payload too large", "The request body is too large."),
    "422": (422, "Input validation failed", "The input could not be processed."),
    "moderated": (422, "Input validation failed", "The input was flagged as sensitive by content moderation."),
    "moderated-output": (422, "Input validation failed", "The output was flagged as sensitive by content moderation."),
    "429": (429, "Too many requests", "Request was throttled."),
    "quota": (402, "Insufficient credit", "You have insufficient credit to run this model."),
    "500": (500, "Internal server error", "An error occurred."),
    "502": (502, "Bad gateway", "Bad gateway."),
    "503": (503, "Service unavailable", "The service is not available."),
    "504": (504, "Gateway timeout", "The service did not answer in time."),
}


class Replicate:
    provider = "replicate"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        root = "/replicate/v1"
        return [
            web.post(root + "/models/{owner}/{name}/predictions", self.create),
            web.post(root + "/predictions", self.create),
            web.get(root + "/predictions/{id}", self.look),
            web.post(root + "/predictions/{id}/cancel", self.cancel),
            web.get(root + "/webhooks/default/secret", self.secret),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task, state = self._desk.look(self, request.match_info["id"], KEPT_SECONDS)
            return web.json_response(self._describe(task, state))

        return await self._desk.calls.free(request, self, answer)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task = self._desk.known(self, request.match_info["id"], KEPT_SECONDS)
            if self._desk.tasks.state(task) not in FINAL:
                self._desk.stop(task)
            return web.json_response(self._describe(task, self._desk.tasks.state(task)))

        return await self._desk.calls.free(request, self, answer)

    async def secret(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            return web.json_response({"key": f"whsec_{SECRET}"})

        return await self._desk.calls.free(request, self, answer)

    def invalid(self, error: InvalidFieldError) -> Refusal:
        return Refusal(422, "Input validation failed", f"- {error.field}: {error.reason}\n")

    def refusal(self, fault: str, model: str) -> Refusal:
        status, title, detail = _REFUSALS[plain(fault)]
        return Refusal(status, title, detail)

    def missing(self) -> Refusal:
        return self.refusal("404", "")

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {"title": refusal.code, "detail": refusal.message, "status": refusal.status}

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"x-request-id": request_id}

    async def _read(self, call: Call) -> Job:
        fields = Fields(call.json(), {"input", "webhook", "webhook_events_filter", "version", "stream"})
        call.model, model = self._model(call, fields)
        inside = fields.part("input", model.known)
        call.prompt = inside.required_text("prompt", 10_000)
        asked = await self._asked(inside, model)
        webhook = fields.text("webhook", "", 2000)
        if webhook and not webhook.startswith(("http://", "https://")):
            raise fields.invalid("webhook", "value", "must be an http(s) URL")
        events = fields.get("webhook_events_filter") or list(_EVENTS)
        if not isinstance(events, list) or not all(event in _EVENTS for event in events):
            raise fields.invalid("webhook_events_filter", "value", f"must hold some of {', '.join(_EVENTS)}")

        async def make(call: Call, plan: Plan) -> Product:
            name = base64.b32encode(uuid4().bytes).decode().lower().rstrip("=")
            task = self._desk.tasks.add(
                name, model=call.model, prompt=call.prompt, asked=asked, plan=plan, spread=model.spread, host=call.host
            )
            task.kept["variant"] = self._desk.variant(call, str(asked["size"]))
            if webhook:
                word = lambda task: self._word(task, events)  # noqa: E731
                self._desk.outside.follow(task, webhook, word, self._signature)
            body = json.dumps(self._describe(task, "waiting")).encode()
            return Product(body, asked["count"] if task.billed else 0, noted=task.noted)

        return Job(call.model, call.prompt, SUBMISSION, make, deferred=True)

    def _model(self, call: Call, fields: Fields) -> tuple[str, Model]:
        """By its name in the path, or its version in the body."""
        if "owner" in call.request.match_info:
            name = "{owner}/{name}".format_map(call.request.match_info)
            fields.refuse("version", reason="is not a parameter of this endpoint")
            if name not in MODELS:
                raise self.refusal("404", name)
            return name, MODELS[name]
        version = fields.required_text("version", 200).rpartition(":")[2]
        found = next((pair for pair in MODELS.items() if pair[1].version == version), None)
        if found is None:
            raise fields.invalid("version", "value", "Invalid version or not permitted")
        return found

    async def _asked(self, fields: Fields, model: Model) -> dict[str, Any]:
        ratio = fields.choice("aspect_ratio", model.ratios, "16:9" if model.durations else "1:1")
        seconds = 0
        if model.durations:
            seconds = fields.whole("duration", min(model.durations), max(model.durations), model.durations[0])
            if seconds not in model.durations:
                raise fields.invalid("duration", "value", f"must be one of {model.durations}")
        fields.number("guidance", 0, 10, 3)
        fields.whole("output_quality", 0, 100, 80)
        fields.flag("go_fast", default=True)
        return {
            "input": {name: fields.get(name) for name in sorted(model.known) if fields.has(name)},
            "size": shaped(ratio, model.resolution),
            "seconds": seconds,
            "count": fields.whole("num_outputs", 1, 4, 1),
            "seed": fields.whole("seed", 0, 2**31 - 1, 0),
            "format": "mp4" if seconds else fields.choice("output_format", ("webp", "jpg", "png"), "webp"),
            "given": await self._desk.given(fields, model.start) if model.start else b"",
            "several": model.several,
        }

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        words = {"waiting": "starting", "running": "processing", "moderated": "failed", "cancelled": "canceled"}
        deleted = state in FINAL and self._desk.tasks.ended_at(task) + OUTPUT_SECONDS < self._desk.clock.now()
        here = f"{task.host}/replicate/v1/predictions/{task.id}"
        body: dict[str, Any] = {
            "id": task.id,
            "model": task.model,
            "version": MODELS[task.model].version,
            "status": {**words, "expired": "aborted"}.get(state, state),
            "input": {} if deleted else task.asked["input"],
            "output": None,
            "error": None,
            "logs": "",
            "metrics": {},
            "data_removed": deleted,
            "created_at": _moment(task.made_at),
            "started_at": _moment(task.starts_at) if _began(task, state) else None,
            "completed_at": _moment(self._desk.tasks.ended_at(task)) if state in FINAL else None,
            "urls": {"get": here, "cancel": f"{here}/cancel", "web": f"https://replicate.com/p/{task.id}"},
        }
        if "task-word" in task.wishes:
            return body | {"status": task.wishes["task-word"].value}
        if state in {"failed", "moderated", "expired"}:
            nsfw = "NSFW content detected. Try running it again, or try a different prompt."
            return body | {"error": nsfw if state == "moderated" else f"Prediction {task.id} failed on its machine."}
        if state == "succeeded":
            body["metrics"] = {"predict_time": task.ends_at - task.starts_at}
            body["output"] = None if deleted or "task-no-url" in task.wishes else self._output(task)
        return body

    def _output(self, task: Task) -> str | list[str]:
        asked, (width, height) = task.asked, task.asked["size"]
        form = {"jpg": "jpeg"}.get(asked["format"], asked["format"])
        seed = asked["seed"] or task.kept["variant"] + 1
        addresses = [
            self._desk.address(
                task,
                Recipe(
                    task.prompt, width, height, index, seed, form, given=asked["given"], seconds=asked["seconds"]
                ),
                OUTPUT_SECONDS,
            )
            for index in range(asked["count"])
        ]  # fmt: skip
        return addresses if asked["several"] else addresses[0]

    def _word(self, task: Task, events: list[str]) -> Mapping[str, Any] | None:
        state = self._desk.tasks.state(task)
        event = "completed" if state in FINAL else "start" if state == "waiting" else ""
        return self._describe(task, state) if event in events else None

    def _signature(self, raw: bytes) -> Mapping[str, str]:
        name, moment = f"msg_{uuid4().hex}", str(math.floor(self._desk.clock.now()))
        message = b".".join((name.encode(), moment.encode(), raw))
        mac = hmac.new(base64.b64decode(SECRET), message, hashlib.sha256).digest()
        signature = base64.b64encode(mac).decode()
        return {"webhook-id": name, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}


def _began(task: Task, state: State) -> bool:
    if task.cancelled_at is not None:
        return task.cancelled_at >= task.starts_at
    return state != "waiting"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

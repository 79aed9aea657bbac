"""Runway under `/runway`: films from text and pictures, looked at and stopped under `/v1/tasks`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from simulator.calls import Answer, Call, Job, Product, Vendor
from simulator.desk import Desk, plain
from simulator.faults import Plan
from simulator.fields import Fields, InvalidFieldError
from simulator.latency import SUBMISSION, Spread
from simulator.pictures import Recipe
from simulator.refusals import Refusal, bearer_key
from simulator.tasks import FINAL, State, Task

VERSION = "2024-11-06"
KEPT_SECONDS = 30 * 24 * 3600
URL_SECONDS = 24 * 3600
PROMPT_UNITS_MAX = 1000
"""UTF-16 code units."""
SEED_MAX = 2**32 - 1
_FILM = Spread(30, 180)
_READABLE = ("https://", "data:image/", "runway://", "http://127.0.0.1:")
"""The last is ours: on loopback nobody has a certificate."""
_BOTH = ("1280:720", "720:1280")
_GEN4 = (*_BOTH, "1104:832", "832:1104", "960:960", "1584:672")
_VEO = (*_BOTH, "1080:1920", "1920:1080")
_TEXT = frozenset({"model", "promptText", "ratio", "duration", "seed", "contentModeration"})


@dataclass(frozen=True, slots=True)
class Model:
    """`text` and `image` are the ratios of each way to begin, none where it is not offered; `credits` is per second."""

    text: tuple[str, ...]
    image: tuple[str, ...]
    durations: tuple[int, ...]
    credits: int
    last: bool = False


_GEN4_SECONDS = tuple(range(2, 11))
MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "gen4.5": Model(_BOTH, _GEN4, _GEN4_SECONDS, 12),
        "gen4_turbo": Model((), _GEN4, _GEN4_SECONDS, 5),
        "veo3.1": Model(_VEO, _VEO, (4, 6, 8), 40, last=True),
        "veo3.1_fast": Model(_VEO, _VEO, (4, 6, 8), 15, last=True),
    }
)
_REFUSALS: dict[str, tuple[int, str]] = {
    "401": (401, "The API key is invalid."),
    "403": (403, "Your organization may not do this."),
    "404": (404, "The model does not exist."),
    "413": (413, "The request body is too large."),
    "422": (422, "The request cannot be processed."),
    "moderated": (400, "The prompt did not pass content moderation."),
    "moderated-output": (400, "The result did not pass content moderation."),
    "429": (429, "You have made too many requests."),
    "quota": (400, "You do not have enough credits to run this task."),
    "500": (500, "Internal server error."),
    "502": (502, "Bad gateway."),
    "503": (503, "The service is not available."),
    "504": (504, "Gateway timeout."),
}
_FAILURES: Mapping[State, tuple[str, str]] = MappingProxyType(
    {
        "failed": ("INTERNAL.BAD_OUTPUT.CODE01", "An unexpected error occurred."),
        "moderated": ("SAFETY.OUTPUT.VIDEO", "The result did not pass content moderation."),
        "expired": ("THIRD_PARTY.UNAVAILABLE", "The task was not started in time."),
    }
)


def _key(request: web.Request, vendor: Vendor) -> str:
    key = bearer_key(request, vendor)
    if request.headers.get("X-Runway-Version") != VERSION:
        raise Refusal(400, None, f"The header X-Runway-Version must be {VERSION}.")
    return key


class Runway:
    provider = "runway"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        root = "/runway/v1"
        return [
            web.post(root + "/{way:(?:text|image)_to_video}", self.create),
            web.get(root + "/tasks/{id}", self.look),
            web.delete(root + "/tasks/{id}", self.remove),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read, _key)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task, state = self._desk.look(self, _id(request), KEPT_SECONDS)
            return web.json_response(self._describe(task, state))

        return await self._desk.calls.free(request, self, answer, _key)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task = self._desk.known(self, _id(request), KEPT_SECONDS)
            if self._desk.tasks.state(task) in FINAL:
                self._desk.tasks.forget(task)
            else:
                self._desk.stop(task)
            return web.Response(status=204)

        return await self._desk.calls.free(request, self, answer, _key)

    def invalid(self, error: InvalidFieldError) -> Refusal:
        return Refusal(400, None, f"Validation of body failed: {error.field} {error.reason}.")

    def refusal(self, fault: str, model: str) -> Refusal:
        status, message = _REFUSALS[plain(fault)]
        return Refusal(status, None, message)

    def missing(self) -> Refusal:
        return Refusal(404, None, "Task not found.")

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {"error": refusal.message}

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"x-request-id": request_id}

    async def _read(self, call: Call) -> Job:
        body = call.json()
        call.prompt = body["promptText"] if isinstance(body.get("promptText"), str) else ""
        pictured = call.request.match_info["way"].startswith("image")
        fields = Fields(body, _TEXT | {"promptImage"} if pictured else _TEXT)
        name = fields.required_text("model", 100)
        model = MODELS.get(name)
        ratios = () if model is None else model.image if pictured else model.text
        if model is None or not ratios:
            raise fields.invalid("model", "value", "is not offered by this endpoint")
        prompt = fields.text("promptText", "") if pictured else fields.required_text("promptText", 10_000)
        if len(prompt.encode("utf-16-le")) // 2 > PROMPT_UNITS_MAX:
            raise fields.invalid("promptText", "value", f"must have at most {PROMPT_UNITS_MAX} characters")
        if not fields.has("ratio"):
            raise fields.invalid("ratio", "missing", "is required")
        ratio = fields.choice("ratio", ratios, "")
        seconds = fields.whole("duration", min(model.durations), max(model.durations), model.durations[-1])
        if seconds not in model.durations:
            raise fields.invalid("duration", "value", f"must be one of {model.durations}")
        fields.part("contentModeration", {"publicFigureThreshold"})
        width, _, height = ratio.partition(":")
        asked = {
            "size": (int(width), int(height)),
            "seconds": seconds,
            "credits": seconds * model.credits,
            "seed": fields.whole("seed", 0, SEED_MAX, 0),
            "given": await self._pictures(fields, model) if pictured else b"",
        }

        async def make(call: Call, plan: Plan) -> Product:
            task = self._desk.tasks.add(
                str(uuid4()), model=name, prompt=prompt, asked=asked, plan=plan, spread=_FILM, host=call.host
            )
            task.kept["variant"] = self._desk.variant(call, ratio)
            body = {"id": task.id, "estimatedCost": {"credits": asked["credits"]}}
            return Product(json.dumps(body).encode(), task.billed, noted=task.noted)

        return Job(name, prompt, SUBMISSION, make, deferred=True)

    async def _pictures(self, fields: Fields, model: Model) -> bytes:
        """The first frame, small; the last is only looked at."""
        value = fields.get("promptImage")
        if value is None:
            raise fields.invalid("promptImage", "missing", "is required")
        frames = value if isinstance(value, list) else [{"uri": value, "position": "first"}]
        found: dict[str, bytes] = {}
        for frame in frames:
            if not isinstance(frame, dict):
                raise fields.invalid("promptImage", "type", "must be a string or a list of objects")
            part = Fields(frame, {"uri", "position"}, "promptImage.")
            position = part.choice("position", ("first", "last") if model.last else ("first",), "")
            if position in found or not position:
                raise part.invalid("position", "value", "must stand once in each picture")
            uri = part.required_text("uri", 7_000_000)
            if not uri.startswith(_READABLE):
                raise part.invalid("uri", "value", "must be an HTTPS URL, a Runway URI or a data URI")
            found[position] = await self._desk.given(part, "uri", uri)
        if "first" not in found:
            raise fields.invalid("promptImage", "value", "needs a first frame")
        return found["first"]

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        made_at = datetime.fromtimestamp(task.made_at, UTC).isoformat().replace("+00:00", "Z")
        body: dict[str, Any] = {"id": task.id, "createdAt": made_at}
        if "task-word" in task.wishes:
            return body | {"status": task.wishes["task-word"].value}
        estimated = {"estimatedCost": {"credits": task.asked["credits"]}}
        if state == "waiting":
            return body | {"status": "PENDING" if task.looks % 2 else "THROTTLED", **estimated}
        if state == "running":
            return body | {"status": "RUNNING", "progress": self._desk.tasks.percent(task) / 100, **estimated}
        if state == "cancelled":
            began = task.cancelled_at is not None and task.cancelled_at >= task.starts_at
            return body | {"status": "CANCELLED", "cost": {"credits": task.asked["credits"] if began else 0}}
        if state in _FAILURES:
            code, words = _FAILURES[state]
            return body | {"status": "FAILED", "failure": words, "failureCode": code, "cost": {"credits": 0}}
        width, height = task.asked["size"]
        seed = task.asked["seed"] or task.kept["variant"] + 1
        recipe = Recipe(
            task.prompt, width, height, 0, seed, "mp4", given=task.asked["given"], seconds=task.asked["seconds"]
        )
        output = (
            []
            if "task-no-url" in task.wishes
            else [self._desk.assets.publish(task.host, recipe, URL_SECONDS, task.asset)]
        )
        return body | {"status": "SUCCEEDED", "output": output, "cost": {"credits": task.asked["credits"]}}


def _id(request: web.Request) -> str:
    name = request.match_info["id"]
    try:
        UUID(name)
    except ValueError:
        raise Refusal(400, None, "The id of a task is a UUID.") from None
    return name

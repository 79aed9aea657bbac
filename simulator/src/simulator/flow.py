"""The neutral "Flow" contract under `/flow`: a film is named by `operationName` and `sceneId`."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from simulator.tasks import State, Task

MODEL = "flow"
KEPT_SECONDS = 24 * 3600
URL_SECONDS = 3600
SHORT_PIXELS = 720
_FILM = Spread(30, 180)
_REFUSALS: dict[str, tuple[int, str]] = {
    "401": (401, "unauthenticated"),
    "403": (403, "permission denied"),
    "404": (404, "not found"),
    "413": (413, "request too large"),
    "422": (422, "unprocessable"),
    "moderated": (400, "unsafe generation"),
    "moderated-output": (400, "unsafe generation"),
    "429": (429, "unusual activity"),
    "quota": (402, "no credits left"),
    "500": (500, "internal"),
    "502": (502, "bad gateway"),
    "503": (503, "unavailable"),
    "504": (504, "deadline exceeded"),
}
_WORDS: Mapping[State, str] = MappingProxyType({"waiting": "QUEUED", "running": "ACTIVE", "succeeded": "SUCCESSFUL"})
_ERRORS: Mapping[State, str] = MappingProxyType(
    {"moderated": "unsafe generation", "failed": "internal", "expired": "expired"}
)


class Flow:
    provider = "flow"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/flow/videos:generate", self.create), web.post("/flow/videos:status", self.look)]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self, self._read)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            fields = Fields(call.json(), {"operationName", "sceneId"})
            name = fields.required_text("operationName", 200).removeprefix("operations/")
            scene = fields.required_text("sceneId", 200)
            task, state = self._desk.look(self, name, KEPT_SECONDS)
            if scene != task.kept["scene"]:
                raise self.missing()
            return web.json_response(self._describe(task, state))

        return await self._desk.calls.free(request, self, answer)

    def invalid(self, error: InvalidFieldError) -> Refusal:
        return Refusal(400, None, f"{error.field} {error.reason}")

    def refusal(self, fault: str, model: str) -> Refusal:
        status, message = _REFUSALS[plain(fault)]
        return Refusal(status, None, message)

    def missing(self) -> Refusal:
        return self.refusal("404", "")

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {"error": refusal.message}

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"x-request-id": request_id}

    async def _read(self, call: Call) -> Job:
        fields = Fields(call.json(), {"prompt", "aspectRatio", "durationSeconds", "startImage"})
        call.model = MODEL
        prompt = fields.required_text("prompt", 10_000)
        asked = {
            "size": shaped(fields.choice("aspectRatio", ("16:9", "9:16", "1:1"), "16:9"), SHORT_PIXELS),
            "seconds": fields.whole("durationSeconds", 2, 10, 8),
            "given": await self._desk.given(fields, "startImage"),
        }

        async def make(call: Call, plan: Plan) -> Product:
            task = self._desk.tasks.add(
                uuid4().hex, model=MODEL, prompt=prompt, asked=asked, plan=plan, spread=_FILM, host=call.host
            )
            task.kept |= {"scene": str(uuid4()), "variant": self._desk.variant(call, str(asked["size"]))}
            body = self._names(task) | {"status": "PENDING"}
            return Product(json.dumps(body).encode(), task.billed, noted=task.noted)

        return Job(MODEL, prompt, SUBMISSION, make, deferred=True)

    def _names(self, task: Task) -> dict[str, Any]:
        return {"operationName": f"operations/{task.id}", "sceneId": task.kept["scene"]}

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        body = self._names(task)
        if "task-word" in task.wishes:
            return body | {"status": task.wishes["task-word"].value}
        if state in _WORDS:
            body["status"] = _WORDS[state]
        else:
            return body | {"status": "FAILED", "error": _ERRORS.get(state, "internal")}
        if state == "succeeded" and "task-no-url" not in task.wishes:
            width, height = task.asked["size"]
            recipe = Recipe(
                task.prompt, width, height, 0, task.kept["variant"], "mp4", given=task.asked["given"],
                seconds=task.asked["seconds"], sound=True,
            )  # fmt: skip
            body["videoUrl"] = self._desk.address(task, recipe, URL_SECONDS)
        return body

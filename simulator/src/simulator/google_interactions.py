"""Google's interactions under `/google/v1/interactions`: films in the background, and their cancellation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiohttp import web

from simulator.calls import Answer, Call, Job, Product
from simulator.desk import Desk, header_key, shaped
from simulator.faults import Plan
from simulator.fields import Fields
from simulator.google import FILE_ROOT, Google, read_inline
from simulator.latency import SUBMISSION, Spread
from simulator.refusals import Refusal
from simulator.tasks import FINAL, State, Task

KEPT_SECONDS = 2 * 24 * 3600
MODELS = frozenset({"gemini-omni-1.1-flash", "gemini-omni-1.2-flash", "gemini-omni-flash-preview"})
SECONDS = (2, 10)
TOKENS_A_SECOND = 258
_FILM = Spread(11, 360)
_KNOWN = frozenset(
    {
        "model", "input", "background", "store", "stream", "response_format", "generation_config", "labels",
        "system_instruction", "safety_settings", "webhook_config", "previous_interaction_id",
    }
)  # fmt: skip
_SHORT_PIXELS: Mapping[str, int] = MappingProxyType({"360p": 360, "720p": 720, "1080p": 1080, "4k": 2160})
_TASKS = ("text_to_video", "image_to_video", "reference_to_video", "edit", "extend", "upscale")
_WORDS: Mapping[State, str] = MappingProxyType(
    {
        "waiting": "queued",
        "running": "in_progress",
        "succeeded": "completed",
        "moderated": "failed",
        "expired": "failed",
    }
)
_key = header_key("x-goog-api-key")


class GoogleInteractions:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._vendor = Google(desk)

    def routes(self) -> list[web.RouteDef]:
        root = "/google/{version:v1(?:beta)?}/interactions"
        return [
            web.post(root, self.create),
            web.get(root + "/{id}", self.look),
            web.post(root + "/{id}/cancel", self.cancel),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self._desk.calls.serve(request, self._vendor, self._read, _key)

    async def look(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            return self._describe(*self._desk.look(self._vendor, request.match_info["id"], KEPT_SECONDS))

        return await self._desk.calls.free(request, self._vendor, answer, _key)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        async def answer(call: Call) -> Answer:
            task = self._desk.known(self._vendor, request.match_info["id"], KEPT_SECONDS)
            if self._desk.tasks.state(task) in FINAL:
                raise Refusal(400, "INVALID_ARGUMENT", "Only an interaction that has not ended can be cancelled.")
            self._desk.stop(task)
            return self._describe(task, self._desk.tasks.state(task))

        return await self._desk.calls.free(request, self._vendor, answer, _key)

    async def _read(self, call: Call) -> Job:
        fields = Fields(call.json(), _KNOWN)
        name = fields.required_text("model", 100)
        if name not in MODELS:
            raise self._vendor.refusal("404", name)
        prompt, given = _input(fields)
        call.prompt = prompt
        if not fields.flag("background", default=False):
            raise fields.invalid("background", "value", "must be true for films in this simulator")
        fields.flag("store", default=True)
        if fields.flag("stream", default=False):
            raise fields.invalid("stream", "value", "true is not offered by this simulator")
        config = fields.part("generation_config", {"video_config", "seed", "temperature"})
        config.part("video_config", {"task"}).choice("task", _TASKS, "text_to_video")
        asked = _film(fields) | {"seed": config.whole("seed", 0, 2**31 - 1, 0), "given": given}

        async def make(call: Call, plan: Plan) -> Product:
            task = self._desk.tasks.add(
                uuid4().hex, model=name, prompt=prompt, asked=asked, plan=plan, spread=_FILM, host=call.host
            )
            task.kept["variant"] = self._desk.variant(call, str(asked["size"]))
            return Product(json.dumps(self._describe(task, "waiting")).encode(), task.billed, noted=task.noted)

        return Job(name, prompt, SUBMISSION, make, deferred=True)

    def _describe(self, task: Task, state: State) -> dict[str, Any]:
        created = datetime.fromtimestamp(task.made_at, UTC).isoformat().replace("+00:00", "Z")
        body: dict[str, Any] = {
            "id": task.id,
            "model": task.model,
            "object": "interaction",
            "created": created,
            "updated": created,
            "status": _WORDS.get(state, state),
        }
        if "task-word" in task.wishes:
            return body | {"status": task.wishes["task-word"].value}
        if state in {"failed", "moderated", "expired"}:
            code, words = ("SAFETY", "The film was blocked.") if state == "moderated" else ("INTERNAL", "It failed.")
            return body | {"errors": [{"code": code, "message": f"{words} Interaction {task.id}."}]}
        if state == "succeeded" or (state == "cancelled" and (task.cancelled_at or 0) >= task.starts_at):
            body["usage"] = {"total_input_tokens": 20, "total_output_tokens": task.asked["seconds"] * TOKENS_A_SECOND}
        if state == "succeeded":
            film = {"type": "video", "uri": f"{FILE_ROOT}{task.id}:download?alt=media", "mime_type": "video/mp4"}
            made = [] if "task-no-url" in task.wishes else [film]
            body["steps"] = [{"type": "model_output", "content": [{"type": "text", "text": "Here it is."}, *made]}]
        return body


def _input(fields: Fields) -> tuple[str, bytes]:
    """All words, and the first picture."""
    value = fields.get("input")
    parts = [{"type": "text", "text": value}] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts:
        raise fields.invalid("input", "missing", "is required")
    words: list[str] = []
    given = b""
    for part in parts:
        piece = Fields(part if isinstance(part, dict) else {}, {"type", "text", "data", "mime_type", "uri"}, "input.")
        if piece.choice("type", ("text", "image"), "") == "image":
            given = given or read_inline(piece, "data", "mime_type")
        else:
            words.append(piece.required_text("text", 100_000))
    if not words:
        raise fields.invalid("input", "missing", "needs words")
    return " ".join(words), given


def _film(fields: Fields) -> dict[str, Any]:
    form = fields.part("response_format", {"type", "aspect_ratio", "delivery", "duration", "resolution"})
    if form.choice("type", ("video",), "") != "video":
        raise form.invalid("type", "value", "must be video")
    if form.choice("delivery", ("inline", "uri"), "inline") != "uri":
        raise form.invalid("delivery", "value", "must be uri in this simulator")
    ratio = form.choice("aspect_ratio", ("16:9", "9:16"), "16:9")
    short = _SHORT_PIXELS[form.choice("resolution", tuple(_SHORT_PIXELS), "720p")]
    duration = form.text("duration", "8s")
    seconds = int(duration[:-1]) if duration.endswith("s") and duration[:-1].isdigit() else 0
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise form.invalid("duration", "value", f"must be whole seconds from {SECONDS[0]}s to {SECONDS[1]}s")
    return {"size": shaped(ratio, short), "seconds": seconds, "count": 1}

"""Films by Google's interactions: `POST /v1/interactions` in the background, looked at and cancelled by its id."""

from collections.abc import Sequence
from typing import Any

import aiohttp
from pydantic import JsonValue

from generator.providers import http, sdk
from generator.providers.given import content_of
from generator.providers.google_files import Files
from generator.providers.interface import (
    Delivered,
    Item,
    Rejected,
    Running,
    Submission,
    Task,
    Unavailable,
    Unknown,
)

INTERACTING = "gemini-omni"
"""How the names of the models begin that are spoken to this way."""
_INTERACTIONS = "/v1/interactions"
_RATIOS = ("16:9", "9:16")
_RESOLUTIONS = ((360, "360p"), (720, "720p"), (1080, "1080p"), (2160, "4k"))
_WAITS = frozenset({"queued"})
_RUNS = frozenset({"in_progress", "requires_action", "requires_continuation", "idle"})
_FAILED = frozenset({"failed", "incomplete", "budget_exceeded"})
_BLOCKED = ("safety", "prohibited", "blocked", "policy")


class _Taken(sdk.Answer):
    id: str


class _Content(sdk.Answer):
    type: str
    uri: str | None = None
    data: str | None = None
    mime_type: str | None = None


class _Step(sdk.Answer):
    type: str
    content: list[_Content] = []


class _Ended(sdk.Answer):
    steps: list[_Step] = []


class _Usage(sdk.Answer):
    total_output_tokens: int = 0


class _Stopped(sdk.Answer):
    usage: _Usage = _Usage()


class Interactions:
    """Those of one account."""

    def __init__(self, caller: http.Caller, session: aiohttp.ClientSession, files: Files) -> None:
        self._caller, self._session, self._files = caller, session, files

    async def submit(self, submission: Submission) -> Task:
        reply = await self._caller.pay(submission, _INTERACTIONS, await self._body(submission))
        answer = reply.json()
        if isinstance(answer.get("error"), dict):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        return Task(http.task_id(sdk.read_answer(_Taken, answer).id))

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        told = await self._caller.look(f"{_path(task)}?stream=false")
        status = told.get("status")
        if not isinstance(status, str):
            raise Unavailable
        if status == "completed":
            return http.filled(submission, await self._items(told))
        if status in _FAILED:
            return http.failed(submission, Rejected if _blocked(told.get("errors")) else Unavailable)
        if status == "cancelled":
            return http.failed(submission, Unavailable, "The provider stopped the work.")
        return Running("waiting" if status in _WAITS else "rendering")

    async def cancel(self, task: Task) -> bool:
        """What had begun to run is stopped too, and charged for what it wrote so far."""
        told = await self._caller.known(f"{_path(task)}?stream=false")
        if told.get("status") in _WAITS | _RUNS:
            told = (await self._caller.ask("POST", f"{_path(task)}/cancel")).told()
        return told.get("status") == "cancelled" and sdk.read_look(_Stopped, told).usage.total_output_tokens == 0

    async def _body(self, submission: Submission) -> dict[str, JsonValue]:
        parts: list[JsonValue] = [{"type": "text", "text": submission.prompt}]
        given = http.only(submission, "image", "first_frame")
        if given is not None:
            content = http.encoded(await content_of(self._session, given))
            parts.append({"type": "image", "data": content, "mime_type": given.mime_type or "image/png"})
        form: dict[str, JsonValue] = {"type": "video", "delivery": "uri"}
        if ratio := http.nearest_ratio(submission.size, _RATIOS):
            short = min(http.pixels(submission.size) or (0,))
            form["aspect_ratio"] = ratio
            form["resolution"] = next((name for pixels, name in _RESOLUTIONS if pixels >= short), "4k")
        if submission.seconds is not None:
            form["duration"] = f"{submission.seconds}s"
        task = "text_to_video" if given is None else "image_to_video"
        return {
            "model": submission.model,
            "input": parts,
            "background": True,
            "response_format": form,
            "generation_config": {"video_config": {"task": task}},
        }

    async def _items(self, told: dict[str, Any]) -> list[Item]:
        steps = sdk.read_answer(_Ended, told).steps
        films = [
            each for step in steps for each in step.content if step.type == "model_output" and each.type == "video"
        ]
        if not films:
            raise Unknown
        return [await self._item(film) for film in films]

    async def _item(self, film: _Content) -> Item:
        content = http.decoded(film.data) if film.data is not None else await self._files.content_of(film.uri)
        return Delivered(content=content, mime_type=film.mime_type or "video/mp4")


def _path(task: Task) -> str:
    return f"{_INTERACTIONS}/{http.task_id(task.id)}"


def _blocked(errors: object) -> bool:
    said = " ".join(str(each) for each in errors).lower() if isinstance(errors, list) else ""
    return any(word in said for word in _BLOCKED)

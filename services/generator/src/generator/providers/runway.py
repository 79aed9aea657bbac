"""Runway tasks: `POST /v1/text_to_video` and `/v1/image_to_video`, looked at under `/v1/tasks/{id}`.

Addresses of films live for 24 to 48 hours; looking again gives fresh ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import JsonValue

from generator.providers import http, sdk
from generator.providers.interface import (
    Delivered,
    Item,
    QuotaExhausted,
    Rejected,
    Running,
    Submission,
    Task,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "runway"
VERSION = "2024-11-06"
_OPTIONS = frozenset({"seed"})
_TEXT_RATIOS = ("1280:720", "720:1280")
_GEN4_RATIOS = (*_TEXT_RATIOS, "1104:832", "832:1104", "960:960", "1584:672")
_VEO_RATIOS = (*_TEXT_RATIOS, "1920:1080", "1080:1920")
_MICROS_PER_CREDIT = 10_000
"""A credit costs a cent."""


class _Cost(sdk.Answer):
    credits: float


class _Taken(sdk.Answer):
    id: str
    estimatedCost: _Cost | None = None  # noqa: N815 - the vendor's spelling


class _Cancelled(sdk.Answer):
    cost: _Cost


class _Output(sdk.Answer):
    output: list[str]


class Runway:
    """Runway behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "X-Runway-Version": VERSION}
        self._caller = http.Caller(session, base_url, headers, _reading, max_answer_bytes)

    async def submit(self, submission: Submission) -> Task:
        path, body = _asked(submission)
        reply = await self._caller.pay(submission, path, body)
        answer = reply.json()
        if answer.get("error"):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        taken = sdk.read_answer(_Taken, answer)
        cost = taken.estimatedCost
        return Task(http.task_id(taken.id), None if cost is None else round(cost.credits * _MICROS_PER_CREDIT))

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        told = await self._caller.look(_task(task))
        match told.get("status"):
            case "PENDING" | "THROTTLED":
                return Running("waiting")
            case "RUNNING":
                return Running(percent=_percent(told.get("progress")))
            case "SUCCEEDED":
                return _items(submission, told)
            case "FAILED":
                code = str(told.get("failureCode") or "")
                return http.failed(submission, Rejected if code.startswith("SAFETY") else Unavailable)
            case "CANCELLED":
                return http.failed(submission, Unavailable, "The provider stopped the work.")
            case str():
                return Running()  # whatever it means, it has not ended
            case _:
                raise Unavailable

    async def cancel(self, submission: Submission, task: Task) -> bool:
        """Deleting a task that has ended would only forget it; one that is stopped says what it still costs."""
        told = await self._caller.known(_task(task))
        if told.get("status") in {"PENDING", "THROTTLED", "RUNNING"}:
            await self._caller.ask("DELETE", _task(task))
            told = await self._caller.known(_task(task))
        return told.get("status") == "CANCELLED" and sdk.read_look(_Cancelled, told).cost.credits == 0

    async def find(self, submission: Submission) -> Task | None:
        raise Unknown


def _task(task: Task) -> str:
    return f"/v1/tasks/{http.task_id(task.id)}"


def _asked(submission: Submission) -> tuple[str, dict[str, JsonValue]]:
    """The path and the body."""
    body: dict[str, JsonValue] = {**sdk.chosen(submission.options, _OPTIONS), "model": submission.model}
    frames: list[JsonValue] = [
        {"uri": http.address(given), "position": position}
        for roles, position in ((("first_frame", "image"), "first"), (("last_frame",), "last"))
        if (given := http.only(submission, *roles)) is not None
    ]
    veo = submission.model.startswith("veo")
    ratios = _VEO_RATIOS if veo else _GEN4_RATIOS if frames else _TEXT_RATIOS
    body["ratio"] = http.nearest_ratio(submission.size, ratios) or ratios[0]
    body["promptText"] = submission.prompt
    if submission.seconds is not None:
        body["duration"] = submission.seconds
    if not frames:
        return "/v1/text_to_video", body
    body["promptImage"] = frames
    return "/v1/image_to_video", body


def _percent(progress: object) -> int | None:
    if isinstance(progress, bool) or not isinstance(progress, (int, float)) or not 0 <= progress <= 1:
        return None
    return int(progress * 100)


def _items(submission: Submission, told: Mapping[str, Any]) -> Sequence[Item]:
    output = sdk.read_answer(_Output, dict(told)).output
    if not output or not all(each.startswith(("https://", "http://")) for each in output):
        raise Unknown
    return http.filled(submission, [Delivered(url=each, mime_type="video/mp4") for each in output])


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    words = problem.get("error")
    said = words.lower() if isinstance(words, str) else ""
    if "credits" in said:
        return http.Said(QuotaExhausted, words)
    if status == 429 and "daily" in said:
        return http.Said(QuotaExhausted, words)
    if status == 400 and "moderation" in said:
        return http.Said(Rejected, words)
    return http.Said(words=words)

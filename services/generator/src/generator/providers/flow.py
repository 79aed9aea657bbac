"""The neutral contract of a "Flow": a film is submitted, named by an operation and a scene, and looked at by that pair.

There is no public API behind the word, so what speaks it is the simulator or a bridge of the operator's own.
`POST /videos:generate` takes `prompt`, `aspectRatio` and `durationSeconds` and answers `operationName`, `sceneId` and
`status`; `POST /videos:status` takes the pair and answers the status, and in the end `videoUrl` or `error`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import Field, JsonValue

from generator.providers import http, sdk
from generator.providers.interface import (
    Delivered,
    Item,
    Rejected,
    Running,
    Submission,
    Task,
    Throttled,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "flow"
_RATIOS = ("16:9", "1:1", "9:16")
_NAME = re.compile(r"^[\w./:-]{1,150}\Z")
_BETWEEN = "#"
_BLOCKED = ("unsafe", "policy")


class _Taken(sdk.Answer):
    operationName: str = Field(pattern=_NAME)  # noqa: N815 - the seed's spelling
    sceneId: str = Field(pattern=_NAME)  # noqa: N815


class _Film(sdk.Answer):
    videoUrl: str = Field(pattern=r"^https?://")  # noqa: N815


class Flow:
    """A Flow behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._caller = http.Caller(session, base_url, {"Authorization": f"Bearer {key}"}, _reading, max_answer_bytes)

    async def submit(self, submission: Submission) -> Task:
        reply = await self._caller.pay(submission, "/videos:generate", _body(submission))
        answer = reply.json()
        if answer.get("error"):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        taken = sdk.read_answer(_Taken, answer)
        return Task(f"{taken.operationName}{_BETWEEN}{taken.sceneId}")

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        operation, _, scene = task.id.partition(_BETWEEN)
        reply = await self._caller.ask("POST", "/videos:status", {"operationName": operation, "sceneId": scene})
        told = reply.told()
        match told.get("status"):
            case "PENDING" | "QUEUED":
                return Running("waiting")
            case "ACTIVE":
                return Running()
            case "SUCCESSFUL":
                film = sdk.read_answer(_Film, told)
                return http.filled(submission, [Delivered(url=film.videoUrl, mime_type="video/mp4")])
            case "FAILED":
                said = str(told.get("error")).lower()
                return http.failed(submission, Rejected if any(word in said for word in _BLOCKED) else Unavailable)
            case str():
                return Running()  # whatever it means, it has not ended
            case _:
                raise Unavailable

    async def cancel(self, submission: Submission, task: Task) -> bool:
        return False

    async def find(self, submission: Submission) -> Task | None:
        raise Unknown


def _body(submission: Submission) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {"prompt": submission.prompt}
    if submission.seconds is not None:
        body["durationSeconds"] = submission.seconds
    if ratio := http.nearest_ratio(submission.size, _RATIOS):
        body["aspectRatio"] = ratio
    picture = http.only(submission, "image", "first_frame")
    if picture is not None:
        body["startImage"] = http.address(picture)
    return body


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    words = problem.get("error")
    said = str(words).lower()
    if any(word in said for word in _BLOCKED):
        return http.Said(Rejected)
    return http.Said(Throttled) if "unusual activity" in said else http.Said(words=words)

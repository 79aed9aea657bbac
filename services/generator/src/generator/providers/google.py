"""Google's Gemini API: pictures by `:generateContent`; films by interactions, and by Veo's `:predictLongRunning`, whose
operation is looked at until it is done.

A film has to be downloaded with our key, so it is delivered as bytes. An operation that is done without a film was
filtered.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import Field, JsonValue

from contracts.facts import Kind
from generator.providers import http, sdk
from generator.providers.given import content_of
from generator.providers.google_files import Files
from generator.providers.google_interactions import INTERACTING, Interactions
from generator.providers.interface import (
    Delivered,
    Item,
    QuotaExhausted,
    Rejected,
    Running,
    Submission,
    Task,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "google"
_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
_FILM_RATIOS = ("16:9", "9:16")
_FILM_OPTIONS = {"negative_prompt": "negativePrompt", "seed": "seed", "person_generation": "personGeneration"}
_BLOCKED = frozenset({"SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII"})
_MEANING = {
    "PERMISSION_DENIED": Unauthorized,
    "UNAUTHENTICATED": Unauthorized,
    "RESOURCE_EXHAUSTED": Throttled,
    "DEADLINE_EXCEEDED": Unknown,
}
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_INVALID_CODE = 3
"""INVALID_ARGUMENT, as google.rpc.Code numbers it."""


class _Inline(sdk.Answer):
    mimeType: str = "image/png"  # noqa: N815 - the vendor's spelling, here and below
    data: str


class _Part(sdk.Answer):
    inlineData: _Inline | None = None  # noqa: N815
    thought: bool = False


class _Content(sdk.Answer):
    parts: list[_Part] = []


class _Candidate(sdk.Answer):
    content: _Content = _Content()
    finishReason: str = ""  # noqa: N815


class _Feedback(sdk.Answer):
    blockReason: str | None = None  # noqa: N815


class _Generated(sdk.Answer):
    candidates: list[_Candidate] = []
    promptFeedback: _Feedback = _Feedback()  # noqa: N815


class _Operation(sdk.Answer):
    name: str


class _Video(sdk.Answer):
    uri: str | None = Field(default=None, max_length=2048)
    bytesBase64Encoded: str | None = None  # noqa: N815


class _Sample(sdk.Answer):
    video: _Video


class _Films(sdk.Answer):
    generatedSamples: list[_Sample] = []  # noqa: N815
    raiMediaFilteredCount: int = 0  # noqa: N815


class _Response(sdk.Answer):
    generateVideoResponse: _Films  # noqa: N815


class Google:
    """The Gemini API behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._session = session
        self._caller = http.Caller(session, base_url, {"x-goog-api-key": key}, _reading, max_answer_bytes)
        self._files = Files(self._caller, session, max_answer_bytes)
        self._interactions = Interactions(self._caller, session, self._files)

    async def submit(self, submission: Submission) -> Sequence[Item] | Task:
        model = http.in_path(submission.model)
        if submission.model.startswith(INTERACTING):
            return await self._interactions.submit(submission)
        if submission.kind is Kind.VIDEO:
            path = f"/v1beta/models/{model}:predictLongRunning"
            answer = self._sound(await self._caller.pay(submission, path, await self._film(submission)))
            name = sdk.read_answer(_Operation, answer).name
            return Task(http.task_id(name.removeprefix(f"models/{submission.model}/operations/")))
        path = f"/v1beta/models/{model}:generateContent"
        answer = self._sound(await self._caller.pay(submission, path, await self._picture(submission)))
        if not answer:
            raise Unavailable  # nothing was made
        return http.filled(submission, _pictures(sdk.read_answer(_Generated, answer)))

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        if submission.model.startswith(INTERACTING):
            return await self._interactions.look(submission, task)
        model, name = http.in_path(submission.model), http.task_id(task.id)
        operation = await self._caller.look(f"/v1beta/models/{model}/operations/{name}")
        if operation.get("done") is not True:
            if "name" not in operation:
                raise Unavailable
            return Running()
        error = operation.get("error")
        if isinstance(error, dict):
            refused = error.get("code") == _INVALID_CODE  # what its filters say of a prompt, too
            return http.failed(submission, Rejected if refused else Unavailable)
        films = sdk.read_answer(_Response, operation.get("response") or {}).generateVideoResponse
        if not films.generatedSamples and not films.raiMediaFilteredCount:
            raise Unknown
        items: list[Item] = [await self._item(sample.video) for sample in films.generatedSamples]
        items += [Rejected().failure] * films.raiMediaFilteredCount
        return http.filled(submission, items)

    async def cancel(self, submission: Submission, task: Task) -> bool:
        """Only an interaction can be stopped."""
        return submission.model.startswith(INTERACTING) and await self._interactions.cancel(task)

    async def find(self, submission: Submission) -> Task | None:
        raise Unknown

    async def _picture(self, submission: Submission) -> dict[str, JsonValue]:
        parts: list[JsonValue] = [{"text": submission.prompt}]
        for given in submission.given:
            if given.role == "image":
                content = http.encoded(await content_of(self._session, given))
                parts.append({"inlineData": {"mimeType": given.mime_type or "image/png", "data": content}})
        config: dict[str, JsonValue] = {"responseModalities": ["IMAGE"]}
        if ratio := http.nearest_ratio(submission.size, _RATIOS):
            config["imageConfig"] = {"aspectRatio": ratio}
        return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}

    async def _film(self, submission: Submission) -> dict[str, JsonValue]:
        instance: dict[str, JsonValue] = {"prompt": submission.prompt}
        for field, roles in (("image", ("image", "first_frame")), ("lastFrame", ("last_frame",))):
            given = http.only(submission, *roles)
            if given is not None:
                content = http.encoded(await content_of(self._session, given))
                instance[field] = {"bytesBase64Encoded": content, "mimeType": given.mime_type or "image/png"}
        parameters: dict[str, JsonValue] = {
            wire: submission.options[name]
            for name, wire in _FILM_OPTIONS.items()
            if submission.options.get(name) is not None
        }
        parameters["sampleCount"] = submission.count
        if submission.seconds is not None:
            parameters["durationSeconds"] = submission.seconds
        if ratio := http.nearest_ratio(submission.size, _FILM_RATIOS):
            parameters["aspectRatio"] = ratio
            parameters["resolution"] = "1080p" if min(http.pixels(submission.size) or (0,)) > 720 else "720p"
        return {"instances": [instance], "parameters": parameters}

    async def _item(self, video: _Video) -> Item:
        if video.bytesBase64Encoded is not None:
            return Delivered(content=http.decoded(video.bytesBase64Encoded), mime_type="video/mp4")
        return Delivered(content=await self._files.content_of(video.uri), mime_type="video/mp4")

    def _sound(self, reply: http.Reply) -> dict[str, Any]:
        answer = reply.json()
        if isinstance(answer.get("error"), dict):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        return answer


def _pictures(answer: _Generated) -> list[Item]:
    """One candidate holds the picture, perhaps after words and drafts. Raises ProviderRefusal where there is none."""
    pictures = [
        part.inlineData
        for candidate in answer.candidates
        for part in candidate.content.parts
        if part.inlineData is not None and not part.thought
    ]
    if pictures:
        return [Delivered(content=http.decoded(each.data), mime_type=each.mimeType) for each in pictures]
    reasons = {candidate.finishReason for candidate in answer.candidates}
    if answer.promptFeedback.blockReason is not None or reasons & _BLOCKED:
        raise Rejected
    raise Unavailable if reasons else Unknown


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    error = problem.get("error")
    if not isinstance(error, dict):
        return http.Said()
    details = [each for each in error.get("details") or [] if isinstance(each, dict)]
    words = error.get("message")
    if any(each.get("reason") == "API_KEY_INVALID" for each in details):
        return http.Said(Unauthorized)
    if error.get("status") == "RESOURCE_EXHAUSTED" and any("PerDay" in str(each) for each in details):
        return http.Said(QuotaExhausted)
    if error.get("status") == "INVALID_ARGUMENT" and "safety" in str(words).lower():
        return http.Said(Rejected)
    delays = [_DELAY.fullmatch(str(each.get("retryDelay"))) for each in details]
    waits = [float(delay[1]) for delay in delays if delay]
    return http.Said(_MEANING.get(str(error.get("status"))), words, waits[0] if waits else None)

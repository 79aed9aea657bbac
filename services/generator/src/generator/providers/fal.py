"""fal's queue: `POST /{owner}/{app}[/path]` answers with a task; its status, result and cancellation have addresses of
their own, below the app without its path.

A task that is COMPLETED may have failed: its result says so. Pictures of its hosts are public, for whoever knows
their address.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import aiohttp
from pydantic import Field, JsonValue

from contracts.facts import Failure, Kind
from generator.providers import http, sdk
from generator.providers.interface import (
    Delivered,
    Invalid,
    Item,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Running,
    Submission,
    Task,
    Unavailable,
    Unknown,
)
from generator.providers.signatures import Keys, is_of_fal, key_of
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "fal"
_KEY_HOSTS = MappingProxyType({"https://queue.fal.run": "https://rest.fal.ai"})
"""Where its keys are, which is not where its queue is."""
_NAMESPACES = frozenset({"workflows", "comfy"})
_OPTIONS = frozenset(
    {
        "seed", "guidance_scale", "num_inference_steps", "output_format", "acceleration", "negative_prompt",
        "cfg_scale", "style", "safety_tolerance",
    }
)  # fmt: skip
"""Not `resolution`: the vendor takes more for a larger one, and the price does not know it."""
_RATIOS = ("16:9", "1:1", "9:16")
_DURATION_AS_TEXT = ("fal-ai/kling-video/",)
"""These want `"5"`, all others 5."""
_BLOCKED = frozenset({"content_policy_violation", "content_policy", "nsfw_content"})
_CANCELLED = "client_cancelled"
_NOTHING = Failure(code="nothing_made", message="The provider says that it is done, and made nothing.")
"""No answer was lost, and the next would be paid as well: it is not tried again."""
_USED_UP = ("exhausted balance", "insufficient", "user is locked")


class _Taken(sdk.Answer):
    request_id: str


class _File(sdk.Answer):
    url: str = Field(pattern=r"^https?://")
    content_type: str | None = None


class _Key(sdk.Answer):
    crv: str = ""
    x: str = ""


class _KeySet(sdk.Answer):
    keys: list[_Key] = Field(max_length=100)


class _Result(sdk.Answer):
    images: list[_File] | None = None
    image: _File | None = None
    video: _File | None = None
    audio: _File | None = None
    has_nsfw_concepts: list[bool] | None = None


class Fal:
    """fal behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._caller = http.Caller(session, base_url, {"Authorization": f"Key {key}"}, _reading, max_answer_bytes)
        base = base_url.rstrip("/")
        self._public = http.Caller(session, _KEY_HOSTS.get(base, base), {}, _reading, max_answer_bytes)
        self._keys = Keys(self._read_keys, is_of_fal)

    async def submit(self, submission: Submission) -> Task:
        path = "/" + http.in_path(submission.model)
        if submission.callback_url is not None:
            path += "?" + urlencode({"fal_webhook": submission.callback_url})
        # Its queue would run a failed request up to ten times: retrying has one owner.
        reply = await self._caller.pay(submission, path, _body(submission), headers={"x-fal-no-retry": "1"})
        answer = reply.json()
        if answer.get("detail"):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        return Task(http.task_id(sdk.read_answer(_Taken, answer).request_id))

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        requests = _requests(submission, task)
        status = await self._caller.look(f"{requests}/status")
        match status.get("status"):
            case "IN_QUEUE":
                position = status.get("queue_position")
                return Running("waiting", position=position if isinstance(position, int) else None)
            case "IN_PROGRESS":
                return Running()
            case "COMPLETED" if status.get("error") or status.get("error_type"):
                return self._failed(submission, 500, {**status, "detail": status.get("error")})
            case "COMPLETED":
                return await self._result(submission, requests)
            case str():
                return Running()  # whatever it means, it has not ended
            case _:
                raise Unavailable

    async def cancel(self, submission: Submission, task: Task) -> bool:
        """Only a request that waits in its queue is surely stopped; one that runs is stopped late, and charged."""
        requests = _requests(submission, task)
        status = (await self._caller.known(f"{requests}/status")).get("status")
        if status == "COMPLETED":
            problem = (await self._caller.question("GET", requests)).problem()
            return problem.get("error_type") == _CANCELLED
        if status is None:
            return False
        try:
            await self._caller.ask("PUT", f"{requests}/cancel")
        except (sdk.NotKnown, Invalid):
            return False
        return bool(status == "IN_QUEUE")

    async def find(self, submission: Submission) -> Task | None:
        raise Unknown

    async def is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        return await self._keys.made(headers, body)

    async def _read_keys(self) -> Sequence[bytes]:
        try:
            listed = sdk.read_look(_KeySet, await self._public.look("/.well-known/jwks.json")).keys
            return [key_of(key.x) for key in listed if key.crv == "Ed25519"]
        except (ValueError, ProviderRefusal) as error:
            raise Unavailable from error

    async def _result(self, submission: Submission, requests: str) -> Sequence[Item]:
        reply = await self._caller.question("GET", requests)
        problem = reply.problem()
        if problem.get("error_type") == _CANCELLED:
            return http.failed(submission, Unavailable, "The provider stopped the work.")
        if reply.status >= 400 and (isinstance(problem.get("detail"), list) or problem.get("error_type")):
            return self._failed(submission, reply.status, problem)  # the model's own word, whatever the status
        answer = self._caller.answered(reply).told()
        if answer.get("detail"):
            return self._failed(submission, reply.status, answer)
        result = sdk.read_answer(_Result, answer)
        files = [*(result.images or ()), *filter(None, (result.image, result.video, result.audio))]
        if not files and result.images is not None:
            return [_NOTHING] * submission.count
        if not files:
            raise Unknown
        blocked = result.has_nsfw_concepts or []
        items = [
            Rejected().failure if index < len(blocked) and blocked[index] else _item(submission, file)
            for index, file in enumerate(files)
        ]
        return http.filled(submission, items)

    def _failed(self, submission: Submission, status: int, problem: Mapping[str, Any]) -> Sequence[Item]:
        # A model that took too long has ended too, and made nothing.
        refusal = self._caller.refusal(min(status, 500), {}, problem)
        return [refusal.failure] * submission.count


def _requests(submission: Submission, task: Task) -> str:
    parts = http.in_path(submission.model).split("/")
    app = parts[: 3 if parts[0] in _NAMESPACES else 2]
    return f"/{'/'.join(app)}/requests/{http.task_id(task.id)}"


def _body(submission: Submission) -> dict[str, JsonValue]:
    body = sdk.chosen(submission.options, _OPTIONS)
    body["prompt"] = submission.prompt
    picture = http.only(submission, "image", "first_frame")
    if picture is not None:
        body["image_url"] = http.address(picture)
    if submission.kind is Kind.VIDEO:
        if submission.seconds is not None:
            textual = submission.model.startswith(_DURATION_AS_TEXT)
            body["duration"] = str(submission.seconds) if textual else submission.seconds
        ratio = http.nearest_ratio(submission.size, _RATIOS)
        if ratio is not None and picture is None:
            body["aspect_ratio"] = ratio
        return body
    size = http.pixels(submission.size)
    if size is not None:
        body["image_size"] = {"width": size[0], "height": size[1]}
    body["num_images"] = submission.count
    return body


def _item(submission: Submission, file: _File) -> Item:
    usual = {Kind.VIDEO: "video/mp4", Kind.SPEECH: "audio/mpeg"}.get(submission.kind, "image/jpeg")
    return Delivered(url=file.url, mime_type=file.content_type or usual)


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    detail = problem.get("detail")
    if isinstance(detail, list):
        entries = [entry for entry in detail if isinstance(entry, dict)]
        if any(entry.get("type") in _BLOCKED for entry in entries):
            return http.Said(Rejected)
        return http.Said(words=" ".join(_sentence(entry) for entry in entries))
    if problem.get("error_type") in _BLOCKED:
        return http.Said(Rejected)
    if isinstance(detail, str) and any(words in detail.lower() for words in _USED_UP):
        return http.Said(QuotaExhausted)
    return http.Said(words=detail)


def _sentence(entry: Mapping[str, Any]) -> str:
    """Which field it is about, and what is wrong with it."""
    place = entry.get("loc")
    field = place[-1] if isinstance(place, list) and place else ""
    return f"{field}: {entry.get('msg')}." if field else f"{entry.get('msg')}."

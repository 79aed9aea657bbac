"""Replicate predictions: `POST /v1/models/{owner}/{name}/predictions`, or `/v1/predictions` for one version of a model.

Everything that came out of a prediction is deleted after an hour.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import JsonValue

from contracts.facts import Kind
from generator.providers import http, sdk
from generator.providers.interface import (
    Delivered,
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
from generator.providers.signatures import Keys, is_of_standard_webhooks, secret_of
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "replicate"
_OPTIONS = frozenset(
    {
        "seed", "guidance", "guidance_scale", "num_inference_steps", "output_format", "output_quality", "go_fast",
        "negative_prompt", "prompt_upsampling", "prompt_strength",
    }
)  # fmt: skip
"""Neither `resolution` nor `mode`: the vendor takes more for some of them, and the price does not know it."""
_RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16", "9:21")
_FILM_RATIOS = ("16:9", "1:1", "9:16")
_START = (
    ("black-forest-labs/flux-1.1", "image_prompt"),
    ("kwaivgi/kling", "start_image"),
    ("minimax/", "first_frame_image"),
)
"""What a model calls the picture that it starts from, by the beginning of its name; `image` for all others."""
_BLOCKED = ("nsfw", "sensitive", "safety", "content policy", "moderat", "prohibited")
_TYPES = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg", "jpeg": "image/jpeg", "mp4": "video/mp4"}

_WAIT = re.compile(r"resets in ~?(\d{1,6})s")


class _Output(sdk.Answer):
    output: str | list[str] | None = None


class Replicate:
    """Replicate behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._caller = http.Caller(session, base_url, {"Authorization": f"Bearer {key}"}, _reading, max_answer_bytes)
        self._keys = Keys(self._read_secret, is_of_standard_webhooks)

    async def submit(self, submission: Submission) -> Task:
        model, _, version = submission.model.partition(":")
        body: dict[str, JsonValue] = {"input": _input(submission)}
        if submission.callback_url is not None:
            body |= {"webhook": submission.callback_url, "webhook_events_filter": ["start", "completed"]}
        path = f"/v1/models/{http.in_path(model)}/predictions"
        if version:
            path, body["version"] = "/v1/predictions", version
        reply = await self._caller.pay(submission, path, body)
        answer = reply.json()
        if "id" not in answer and answer.get("detail"):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        return Task(http.task_id(answer.get("id")))

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        prediction = await self._caller.look(_prediction(task))
        match prediction.get("status"):
            case "starting" | "queued":
                return Running("waiting")
            case "processing":
                return Running()
            case "succeeded":
                return _items(submission, prediction)
            case "failed":
                error = str(prediction.get("error") or "").lower()
                blocked = any(word in error for word in _BLOCKED)
                return http.failed(submission, Rejected if blocked else Unavailable)
            case "canceled" | "aborted":
                return http.failed(submission, Unavailable, "The provider stopped the work.")
            case str():
                return Running()  # whatever it means, it has not ended
            case _:
                raise Unavailable

    async def cancel(self, submission: Submission, task: Task) -> bool:
        """What had begun to run is stopped too, and charged for as long as it ran."""
        told = await self._caller.known(_prediction(task))
        if told.get("status") in {"starting", "queued", "processing"}:
            told = (await self._caller.ask("POST", f"{_prediction(task)}/cancel")).told()
        return told.get("status") in {"canceled", "aborted"} and told.get("started_at") is None

    async def find(self, submission: Submission) -> Task | None:
        raise Unknown

    async def is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        return await self._keys.made(headers, body)

    async def _read_secret(self) -> Sequence[bytes]:
        """Of our account."""
        try:
            return [secret_of(str((await self._caller.look("/v1/webhooks/default/secret")).get("key") or ""))]
        except (ValueError, ProviderRefusal) as error:
            raise Unavailable from error


def _prediction(task: Task) -> str:
    return f"/v1/predictions/{http.task_id(task.id)}"


def _input(submission: Submission) -> dict[str, JsonValue]:
    asked = sdk.chosen(submission.options, _OPTIONS)
    asked["prompt"] = submission.prompt
    film = submission.kind is Kind.VIDEO
    picture = http.only(submission, "image", "first_frame")
    if picture is not None:
        name = next((name for start, name in _START if submission.model.startswith(start)), "image")
        asked[name] = http.address(picture)
    elif ratio := http.nearest_ratio(submission.size, _FILM_RATIOS if film else _RATIOS):
        asked["aspect_ratio"] = ratio
    if film and submission.seconds is not None:
        asked["duration"] = submission.seconds
    if submission.count > 1:
        asked["num_outputs"] = submission.count
    return asked


def _items(submission: Submission, prediction: Mapping[str, Any]) -> Sequence[Item]:
    output = sdk.read_answer(_Output, dict(prediction)).output
    addresses = [output] if isinstance(output, str) else output or []
    if not addresses or not all(each.startswith(("https://", "http://")) for each in addresses):
        raise Unknown
    return http.filled(submission, [Delivered(url=each, mime_type=_mime_type(each, submission)) for each in addresses])


def _mime_type(address: str, submission: Submission) -> str:
    ending = address.partition("?")[0].rpartition(".")[2].lower()
    usual = {Kind.VIDEO: "video/mp4", Kind.SPEECH: "audio/mpeg"}.get(submission.kind, "image/png")
    return _TYPES.get(ending, usual)


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    words = problem.get("detail")
    said = words.lower() if isinstance(words, str) else ""
    if status == 402 or "insufficient credit" in said:
        return http.Said(QuotaExhausted, words)
    if status in {400, 422} and any(word in said for word in _BLOCKED):
        return http.Said(Rejected, words)
    waits = _WAIT.search(said)
    return http.Said(words=words, wait_seconds=float(waits[1]) if waits else None)

"""Stability AI v2beta: pictures in one call (`POST /v2beta/stable-image/generate/{core|ultra|sd3}`), and the retired
`POST /v2beta/image-to-video`, which answers with a task.

It takes multipart forms alone, and one picture is one call. Nothing is hosted: pictures and films come as bytes. A
result that its filter blurred is a 200, and is charged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import JsonValue

from contracts.facts import Kind
from generator.providers import http, sdk
from generator.providers.given import content_of
from generator.providers.interface import (
    Delivered,
    Invalid,
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

NAME = "stability"
_PICTURES = "/v2beta/stable-image/generate/"
_FILMS = "/v2beta/image-to-video"
_RATIOS = ("21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21")
_OPTIONS = frozenset({"seed", "negative_prompt", "output_format", "style_preset"})
_SD3 = frozenset({"cfg_scale"})
_FILM_OPTIONS = frozenset({"seed", "cfg_scale", "motion_bucket_id"})
_MAX_SEED = 4_294_967_294
_STRENGTH = 0.7
"""How much a given picture may change; the API wants to be told."""
_BLOCKED = "content_moderation"
_ENDED = frozenset({400, 403, 422})
"""How a look says that a film failed."""
_JSON = {"Accept": "application/json"}


class _Result(sdk.Answer):
    """One picture or one film."""

    finish_reason: str
    image: str | None = None
    video: str | None = None


class Stability:
    """Stability behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._session = session
        self._caller = http.Caller(session, base_url, {"Authorization": f"Bearer {key}"}, _reading, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item] | Task:
        if submission.kind is Kind.VIDEO:
            form = _form(_film_fields(submission), await self._given(submission, "image", "first_frame"))
            reply = await self._caller.pay(submission, _FILMS, form=form, headers=_JSON)
            return Task(http.task_id(self._sound(reply).get("id")))
        path, fields = _picture_fields(submission)
        form = _form(fields, await self._given(submission, "image"))
        reply = await self._caller.pay(submission, _PICTURES + path, form=form, headers=_JSON)
        answer = self._sound(reply)
        if not answer:
            raise Unavailable  # nothing was made
        mime_type = f"image/{fields.get('output_format', 'png')}"
        return http.filled(submission, [_item(sdk.read_answer(_Result, answer), mime_type)])

    async def look(self, submission: Submission, task: Task) -> Sequence[Item] | Running:
        path = f"{_FILMS}/result/{http.task_id(task.id)}"
        reply = await self._caller.question("GET", path, headers=_JSON)
        if reply.status == 202:
            return Running()
        if reply.status in _ENDED and reply.problem().get("errors"):
            blocked = reply.problem().get("name") == _BLOCKED
            return http.failed(submission, Rejected if blocked else Unavailable)
        self._caller.answered(reply)
        result = sdk.read_look(_Result, reply.told())
        return http.filled(submission, [_item(result, "video/mp4")])

    async def cancel(self, submission: Submission, task: Task) -> bool:
        return False

    async def find(self, submission: Submission) -> Task | None:
        raise Unknown

    async def _given(self, submission: Submission, *roles: str) -> bytes | None:
        given = http.only(submission, *roles)
        return None if given is None else await content_of(self._session, given)

    def _sound(self, reply: http.Reply) -> dict[str, Any]:
        """The answer, unless it says inside a 200 that there is none."""
        answer = reply.json()
        if answer.get("errors") or answer.get("name"):
            raise self._caller.refusal(reply.status, reply.headers, answer)
        return answer


def _picture_fields(submission: Submission) -> tuple[str, dict[str, JsonValue]]:
    """The last part of the path, and the form without its picture."""
    sd3 = submission.model.startswith("sd3")
    path = "sd3" if sd3 else http.in_path(submission.model)
    fields = sdk.chosen(submission.options, _OPTIONS | _SD3 if sd3 else _OPTIONS)
    seed = fields.get("seed")
    if isinstance(seed, int) and 0 < seed <= _MAX_SEED - submission.first_index:
        fields["seed"] = seed + submission.first_index  # the same seed would make the same picture each time
    fields["prompt"] = submission.prompt
    if sd3:
        fields["model"] = submission.model
    given = http.only(submission, "image") is not None
    if given:
        fields["strength"] = submission.options.get("strength") or _STRENGTH
    if given and sd3:
        fields["mode"] = "image-to-image"  # which takes the ratio of the picture
    elif ratio := http.nearest_ratio(submission.size, _RATIOS):
        fields["aspect_ratio"] = ratio
    return path, fields


def _film_fields(submission: Submission) -> dict[str, JsonValue]:
    if http.only(submission, "image", "first_frame") is None:
        raise Invalid("This model needs a picture to start from.")
    return sdk.chosen(submission.options, _FILM_OPTIONS)


def _form(fields: Mapping[str, JsonValue], picture: bytes | None) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        form.add_field(name, str(value))
    if picture is not None:
        form.add_field("image", picture, filename="image", content_type="application/octet-stream")
    return form


def _item(result: _Result, mime_type: str) -> Item:
    if result.finish_reason == "CONTENT_FILTERED":
        raise Rejected
    if result.finish_reason != "SUCCESS":
        raise Unknown
    return Delivered(content=http.decoded(result.image or result.video), mime_type=mime_type)


def _reading(status: int, problem: Mapping[str, Any]) -> http.Said:
    errors = problem.get("errors")
    words = " ".join(filter(lambda each: isinstance(each, str), errors)) if isinstance(errors, list) else None
    if problem.get("name") == _BLOCKED:
        return http.Said(Rejected, words)
    if problem.get("name") == "payment_required":
        return http.Said(QuotaExhausted, words)
    return http.Said(words=words)

"""OpenAI images: `POST /images/generations`, synchronous, several pictures per call.

The GPT image models always return base64, the retired DALL·E models an address that lives for about an hour.
"""

import binascii
from collections.abc import Sequence

import aiohttp
from pydantic import Field, JsonValue

from contracts.facts import Failure
from generator.providers import sdk
from generator.providers.interface import (
    Delivered,
    Item,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Submission,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "openai"
_LEGACY = "dall-e-"
_OPTIONS = frozenset({"quality", "background", "output_format", "output_compression", "moderation"})
_LEGACY_OPTIONS = frozenset({"quality", "style"})
_BLOCKED = frozenset({"moderation_blocked", "content_policy_violation"})
_USED_UP = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class _Picture(sdk.Answer):
    url: str | None = Field(default=None, pattern=r"^https?://")
    b64_json: str | None = None


class _Pictures(sdk.Answer):
    data: list[_Picture] | None = None
    output_format: str = "png"


class OpenAI:
    """OpenAI behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._client = sdk.make_client(session, key, base_url, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item]:
        answer = await sdk.post_json(self._client, "/images/generations", submission, _body(submission), _meaning)
        pictures = sdk.read_answer(_Pictures, answer)
        if not pictures.data:
            raise Unavailable
        items = [_item(picture, pictures.output_format) for picture in pictures.data[: submission.count]]
        # It leaves out what it blocked and does not say so.
        missing = Failure(code=Unavailable.code, message="The provider made fewer pictures than were asked for.")
        return [*items, *[missing] * (submission.count - len(items))]


def _body(submission: Submission) -> dict[str, JsonValue]:
    legacy = submission.model.startswith(_LEGACY)
    body: dict[str, JsonValue] = {
        **sdk.chosen(submission.options, _LEGACY_OPTIONS if legacy else _OPTIONS),
        "model": submission.model,
        "prompt": submission.prompt,
        "n": submission.count,
    }
    if submission.size is not None:
        body["size"] = submission.size
    if legacy:
        body["response_format"] = "url"
    return body


def _item(picture: _Picture, output_format: str) -> Item:
    if picture.url is not None:
        return Delivered(url=picture.url, mime_type="image/png")
    if not picture.b64_json:
        raise Unknown
    try:
        content = binascii.a2b_base64(picture.b64_json, strict_mode=True)
    except ValueError as error:
        raise Unknown from error
    return Delivered(content=content, mime_type=f"image/{output_format}")


def _meaning(status: int, code: str, kind: str) -> type[ProviderRefusal] | None:
    if code in _BLOCKED:
        return Rejected
    if code in _USED_UP or kind == "insufficient_quota":
        return QuotaExhausted
    return None

"""BytePlus ModelArk images (Seedream): `POST /images/generations`, synchronous, one picture per call.

It takes no `n`, and a group of Seedream 4 may stop halfway, so several pictures are several submissions. Addresses of
pictures live for 24 hours.
"""

from collections.abc import Sequence

import aiohttp
from pydantic import Field, JsonValue

from contracts.facts import Failure
from generator.providers import sdk
from generator.providers.interface import (
    Delivered,
    Invalid,
    Item,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES

NAME = "modelark"
_OPTIONS = frozenset({"seed", "guidance_scale", "watermark", "optimize_prompt_options", "output_format"})
_MAX_SEED = 2**31 - 1
_USED_UP = frozenset({"AccountOverdueError", "SetLimitExceeded", "QuotaExceeded"})
_BLOCKED = ("SensitiveContentDetected", "RiskDetection")


class _Problem(sdk.Answer):
    code: str = ""


class _Picture(sdk.Answer):
    url: str | None = Field(default=None, pattern=r"^https?://")
    output_format: str = "jpeg"
    error: _Problem | None = None


class _Pictures(sdk.Answer):
    data: list[_Picture] = []


class ModelArk:
    """ModelArk behind the generator's interface."""

    name = NAME

    def __init__(
        self, session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._client = sdk.make_client(session, key, base_url, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item]:
        answer = await sdk.make_images(self._client, submission, _body(submission), _meaning)
        pictures = sdk.read_answer(_Pictures, answer).data
        if not pictures:
            raise Unavailable  # nothing was made, and only what was made is billed
        items = [_item(picture) for picture in pictures[: submission.count]]
        missing = Failure(code=Unavailable.code, message="The provider made fewer pictures than were asked for.")
        return [*items, *[missing] * (submission.count - len(items))]


def _body(submission: Submission) -> dict[str, JsonValue]:
    options = sdk.chosen(submission.options, _OPTIONS)
    seed = options.get("seed")
    if isinstance(seed, int) and 0 <= seed <= _MAX_SEED - submission.first_index:
        options["seed"] = seed + submission.first_index  # the same seed would make the same picture each time
    body: dict[str, JsonValue] = {
        "watermark": False,  # the default of the API is true
        **options,
        "model": submission.model,
        "prompt": submission.prompt,
        "response_format": "url",
    }
    if submission.size is not None:
        body["size"] = submission.size
    return body


def _item(picture: _Picture) -> Item:
    if picture.error is not None:
        refusal = (_meaning(200, picture.error.code, "") or Unavailable)()
        return refusal.failure
    if picture.url is None:
        raise Unknown
    return Delivered(url=picture.url, mime_type=f"image/{picture.output_format}")


def _meaning(status: int, code: str, _: str) -> type[ProviderRefusal] | None:
    if any(word in code for word in _BLOCKED):
        return Rejected
    if code in _USED_UP:
        return QuotaExhausted
    if code.startswith(("InvalidParameter", "MissingParameter")):
        return Invalid
    if code == "ServerOverloaded":
        return Throttled
    return None

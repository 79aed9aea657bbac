"""ModelArk's pictures: `POST /images/generations`, synchronous.

It takes no `n`. Seedream 4 and later make a group in one call, which is asked for as a stream: what was made before a
connection broke is delivered then. Seedream 3 makes one picture a call. Addresses live for 24 hours.
"""

from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI
from pydantic import Field, JsonValue

from contracts.facts import Failure
from generator.providers import sdk
from generator.providers.interface import Delivered, Item, Submission, Unavailable, Unknown
from generator.providers.modelark_words import address, meaning

_PATH = "/images/generations"
_OPTIONS = frozenset({"seed", "guidance_scale", "watermark", "optimize_prompt_options", "output_format"})
_MAX_SEED = 2**31 - 1


class _Problem(sdk.Answer):
    code: str = ""


class _Picture(sdk.Answer):
    url: str | None = Field(default=None, pattern=r"^https?://", max_length=sdk.MAX_ADDRESS_CHARACTERS)
    output_format: str = "jpeg"
    error: _Problem | None = None
    image_index: int | None = Field(default=None, ge=0)


class _Pictures(sdk.Answer):
    data: list[_Picture] = []


async def make(client: AsyncOpenAI, submission: Submission) -> Sequence[Item]:
    body = _body(submission)
    if submission.count > 1:
        return await _make_group(client, submission, body)
    answer = await sdk.post_json(client, _PATH, submission, body, meaning)
    pictures = sdk.read_answer(_Pictures, answer).data
    if not pictures:
        raise Unavailable  # nothing was made, and only what was made is billed
    items = [_item(picture) for picture in pictures[: submission.count]]
    return [*items, *sdk.missing(submission.count - len(items))]


async def _make_group(client: AsyncOpenAI, submission: Submission, body: dict[str, JsonValue]) -> Sequence[Item]:
    body |= {
        "sequential_image_generation": "auto",
        "sequential_image_generation_options": {"max_images": submission.count},
        "stream": True,
    }
    made: dict[int, Item] = {}
    rest = sdk.missing(1)[0]
    try:
        async with sdk.post_for_events(client, _PATH, submission, body, meaning) as events:
            ended = await _collect(events, made)
    except Unknown as broken:
        if not any(isinstance(item, Delivered) for item in made.values()):
            raise
        rest, ended = broken.failure, True
    if not ended and not made:
        raise Unknown
    if not made:
        raise Unavailable
    if not ended:
        rest = Unknown().failure
    return [made.get(index, rest) for index in range(submission.count)]


async def _collect(events: Any, made: dict[int, Item]) -> bool:
    """Takes what arrives into `made`, by its place; whether the provider said that it was all."""
    async for event in events:
        kind = event.get("type", "")
        if kind == "image_generation.completed":
            return True
        if not kind.startswith("image_generation.partial_"):
            _refuse(event)
            continue
        picture = sdk.read_answer(_Picture, event)
        made[len(made) if picture.image_index is None else picture.image_index] = _item(picture)
    return False


def _refuse(event: dict[str, Any]) -> None:
    """Raises what a failure of the whole call means; what was made before it says so itself."""
    error = event.get("error")
    if error:
        code = str(error.get("code") or "") if isinstance(error, dict) else ""
        raise (meaning(200, code, "") or Unknown)


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
    if submission.given:
        images: list[JsonValue] = [address(given) for given in submission.given]
        body["image"] = images if len(images) > 1 else images[0]
    return body


def _item(picture: _Picture) -> Item:
    if picture.error is not None:
        refused: Failure = (meaning(200, picture.error.code, "") or Unavailable)().failure
        return refused
    if picture.url is None:
        raise Unknown
    return Delivered(url=picture.url, mime_type=f"image/{picture.output_format}")

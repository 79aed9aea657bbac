"""OpenAI's pictures: `POST /images/generations` and, with pictures to start from, the form `POST /images/edits`.

Synchronous, several pictures per call. The GPT image models always return base64, the retired DALL·E models an address
that lives for about an hour.
"""

from collections.abc import Mapping, Sequence

import aiohttp
from openai import AsyncOpenAI
from pydantic import Field, JsonValue

from generator.providers import http, sdk
from generator.providers.given import content_of
from generator.providers.interface import PARTIAL_IMAGES, Delivered, Given, Item, Show, Submission, Unavailable, Unknown
from generator.providers.openai_words import meaning

_LEGACY = "dall-e-"
_OPTIONS = frozenset({"quality", "background", "output_format", "output_compression", "moderation", "input_fidelity"})
_LEGACY_OPTIONS = frozenset({"quality", "style"})
_DRAWN = frozenset({PARTIAL_IMAGES})
_MASK = "mask"
_GENERATE, _EDIT = "/images/generations", "/images/edits"
_SHOWN = ("image_generation.partial_image", "image_edit.partial_image")
_COMPLETED = ("image_generation.completed", "image_edit.completed")


class _Picture(sdk.Answer):
    url: str | None = Field(default=None, pattern=r"^(https?://|$)", max_length=sdk.MAX_ADDRESS_CHARACTERS)
    b64_json: str | None = None


class _Sketch(sdk.Answer):
    b64_json: str
    partial_image_index: int = 0


class _Pictures(sdk.Answer):
    data: list[_Picture] | None = None
    output_format: str = "png"


async def make(
    client: AsyncOpenAI, session: aiohttp.ClientSession, submission: Submission, response_format: str | None = None
) -> Sequence[Item]:
    """`response_format` is asked for where the model is none of OpenAI's own."""
    body = _body(submission, response_format)
    files = [_file(given, await content_of(session, given)) for given in submission.given]
    path, said = (_EDIT, _texts(body)) if files else (_GENERATE, body)
    if "stream" in body and submission.show is not None:
        return [await _drawn(client, path, submission, said, files, submission.show)]
    pictures = sdk.read_answer(_Pictures, await sdk.post_json(client, path, submission, said, meaning, files))
    if not pictures.data:
        raise Unavailable
    items = [_item(picture, pictures.output_format) for picture in pictures.data[: submission.count]]
    return [*items, *sdk.missing(submission.count - len(items))]  # it leaves out what it blocked and does not say so


async def _drawn(
    client: AsyncOpenAI,
    path: str,
    submission: Submission,
    body: Mapping[str, JsonValue],
    files: Sequence[sdk.File],
    show: Show,
) -> Item:
    """One picture, shown as far as it has come; it counts when it is there as a whole."""
    async with sdk.post_for_events(client, path, submission, body, meaning, files) as events:
        async for event in events:
            kind, error = event.get("type"), event.get("error")
            if error:
                code = str(error.get("code") or "") if isinstance(error, dict) else ""
                raise (meaning(200, code, "") or Unknown)
            if kind in _SHOWN:
                sketch = sdk.read_answer(_Sketch, event)
                await show(sketch.partial_image_index, sketch.b64_json)
            elif kind in _COMPLETED:
                return _item(sdk.read_answer(_Picture, event), sdk.read_answer(_Pictures, event).output_format)
    raise Unknown


def _body(submission: Submission, response_format: str | None) -> dict[str, JsonValue]:
    legacy = submission.model.startswith(_LEGACY)
    body: dict[str, JsonValue] = {
        **sdk.chosen(submission.options, _LEGACY_OPTIONS if legacy else _OPTIONS),
        "model": submission.model,
        "prompt": submission.prompt,
        "n": submission.count,
    }
    if submission.size is not None:
        body["size"] = submission.size
    if response_format is not None or legacy:
        body["response_format"] = response_format or "url"
    elif submission.show is not None and submission.count == 1:
        body |= {"stream": True, **sdk.chosen(submission.options, _DRAWN)}
    return body


def _texts(body: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """As a form holds them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in body.items()}


def _file(given: Given, content: bytes) -> sdk.File:
    mime_type = (given.mime_type or "image/png").lower()
    name = _MASK if given.role == _MASK else "image[]"
    return name, (f"{given.role}.{mime_type.rpartition('/')[2]}", content, mime_type)


def _item(picture: _Picture, output_format: str) -> Item:
    if picture.url:
        return Delivered(url=picture.url, mime_type="image/png")
    return Delivered(content=http.decoded(picture.b64_json), mime_type=f"image/{output_format}")

"""OpenAI's speech: `POST /audio/speech`, the sound itself as the answer."""

from collections.abc import Sequence
from types import MappingProxyType

from openai import AsyncOpenAI
from pydantic import JsonValue

from generator.providers import sdk
from generator.providers.interface import INSTRUCTIONS, RAW, Delivered, Invalid, Item, Submission, Unavailable, Unknown
from generator.providers.openai_words import meaning

_OPTIONS = frozenset({"voice", "response_format", "speed", INSTRUCTIONS})
_TYPES = MappingProxyType(
    {
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
    }
)
_ANY_BYTES = "application/octet-stream"


async def speak(client: AsyncOpenAI, submission: Submission) -> Sequence[Item]:
    if submission.count != 1:
        raise Invalid("This model speaks once at a time.")
    body: dict[str, JsonValue] = {
        "voice": "alloy",
        "response_format": "mp3",
        **sdk.chosen(submission.options, _OPTIONS),
        "model": submission.model,
        "input": submission.prompt,
    }
    if body["response_format"] == "pcm":
        raise Invalid(RAW)
    response = await sdk.post(client, "/audio/speech", submission, body, meaning)
    said_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said_type == "application/json":
        sdk.read_error(response, meaning)
    if not (said_type.startswith("audio/") or said_type == _ANY_BYTES):
        raise Unknown
    if not response.content:
        raise Unavailable("The provider said nothing.")
    asked_type = _TYPES.get(str(body["response_format"]), _ANY_BYTES)
    return [Delivered(content=response.content, mime_type=asked_type if said_type == _ANY_BYTES else said_type)]

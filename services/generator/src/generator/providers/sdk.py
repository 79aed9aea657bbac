"""What the adapters share: calls through the official `openai` SDK, and refusals from what it raises.

ModelArk speaks the same dialect. The SDK is asked for the plain response: reading it here costs a third less CPU than
its models, and they accept any shape without complaint.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
import httpx2
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from generator.providers.interface import (
    Invalid,
    ProviderRefusal,
    QuotaExhausted,
    Rejected,
    Submission,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES, AiohttpTransport

CONNECT_TIMEOUT_SECONDS = 5.0
MAX_MESSAGE_CHARACTERS = 300
_BEFORE_A_BYTE_LEFT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)
_MEANING: dict[int, type[ProviderRefusal]] = {
    200: Unavailable,  # an error where a result should be
    401: Unauthorized,
    402: QuotaExhausted,
    403: Unauthorized,
    408: Unavailable,
    429: Throttled,
    451: Rejected,
}
_NOT_FOR_OTHERS = re.compile(
    r"(\(?\b(request|trace|log)[ _-]?id\b\W*[\w-]*\)?"  # the provider's ids
    r"|\b(sk|org|proj|req|ep|key)[-_][\w*-]{4,}|\bBearer\s+\S+|\beyJ[\w.-]{10,}"  # keys and accounts
    r"|https?://\S+|\S+@\S+"  # addresses
    r"|\b[0-9a-f-]{24,}\b|\b\d{12,}\w*\b)",  # anything that looks like an id
    re.IGNORECASE,
)


class Answer(BaseModel):
    """What is believed of an answer: strict about what is used, silent about the rest."""

    model_config = ConfigDict(strict=True, extra="ignore")


A = TypeVar("A", bound=Answer)
Vocabulary = Callable[[int, str, str], type[ProviderRefusal] | None]
"""What a provider's (status, error code, error type) mean; None leaves it to the status alone."""


def make_client(
    session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
) -> AsyncOpenAI:
    """The SDK over our session. It never tries twice: retrying has one owner, and that is the generator."""
    http = httpx2.AsyncClient(transport=AiohttpTransport(session, max_answer_bytes), trust_env=False)
    return AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http)


async def make_images(
    client: AsyncOpenAI, submission: Submission, body: Mapping[str, JsonValue], vocabulary: Vocabulary
) -> dict[str, Any]:
    """Posts to `/images/generations` and returns the answer's JSON object.

    Raises:
        ProviderRefusal: any of them.
    """
    try:
        response = await client.post(
            "/images/generations",
            cast_to=httpx2.Response,
            body=body,
            options={
                "headers": {"X-Client-Request-Id": str(submission.reference)},
                "timeout": httpx2.Timeout(submission.timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
            },
        )
    except APIStatusError as error:
        raise _refusal(error.response, error.body, vocabulary) from error
    except APIConnectionError as error:
        if isinstance(error.__cause__, _BEFORE_A_BYTE_LEFT):
            raise Unavailable from error
        raise Unknown from error
    except APIError as error:
        raise Unknown from error
    try:
        answer = json.loads(response.content)
    except ValueError as error:
        raise Unknown from error
    if not isinstance(answer, dict):
        raise Unknown
    if answer.get("error"):
        raise _refusal(response, answer["error"], vocabulary)
    return answer


def read_answer(model: type[A], answer: dict[str, Any]) -> A:
    """Raises Unknown for an answer that is not of this shape: it was made, and perhaps paid, but is no use."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise Unknown from error


def chosen(options: Mapping[str, JsonValue], known: frozenset[str]) -> dict[str, JsonValue]:
    """The options that an adapter passes on; a caller must not reach the fields that decide what is paid."""
    return {name: value for name, value in options.items() if name in known and value is not None}


def readable(message: object) -> str | None:
    """A provider's own words without ids, keys and addresses; None where nothing is left."""
    if not isinstance(message, str):
        return None
    words = " ".join(_NOT_FOR_OTHERS.sub("", message).split())
    return words[:MAX_MESSAGE_CHARACTERS].strip() or None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """What a throttling answer asks for, in seconds, from milliseconds, seconds or a date; None where it is silent."""
    milliseconds = headers.get("retry-after-ms", "")
    value = headers.get("retry-after", "")
    seconds: float
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def refusal(
    status: int, headers: Mapping[str, str], meaning: type[ProviderRefusal] | None, words: object
) -> ProviderRefusal:
    """What an answer that delivers nothing comes to: the vendor's own `meaning`, or what its status says."""
    if meaning is None:
        meaning = _by_status(status)
    wait_seconds = retry_after_seconds(headers)
    if status == 503 and wait_seconds is not None:
        meaning = Throttled
    if meaning is Invalid:
        return Invalid(readable(words))
    if meaning is Throttled:
        return Throttled(retry_after_seconds=wait_seconds)
    return meaning()


def _refusal(response: httpx2.Response, error: object, vocabulary: Vocabulary) -> ProviderRefusal:
    """`error` is the answer's error object, where the provider gave one."""
    details: dict[str, Any] = error if isinstance(error, dict) else {}
    status = response.status_code
    meaning = vocabulary(status, str(details.get("code") or ""), str(details.get("type") or ""))
    return refusal(status, response.headers, meaning, details.get("message"))


def _by_status(status: int) -> type[ProviderRefusal]:
    if status >= 500:
        # 504: somebody between us and the provider stopped waiting, and it may have been done
        return Unknown if status == 504 else Unavailable
    return _MEANING.get(status, Invalid)

"""What the adapters share: calls through the official `openai` SDK, and refusals from what it raises.

ModelArk speaks the same dialect. The SDK is asked for the plain response: reading it here costs a third less CPU than
its models, and they accept any shape without complaint.
"""

import json
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NoReturn, TypeVar, cast

import aiohttp
import httpx2
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    NotFoundError,
    RequestOptions,
)
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from contracts.facts import Failure
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
from generator.providers.transport import MAX_ANSWER_BYTES, AiohttpClient

CONNECT_TIMEOUT_SECONDS = 5.0
LOOK_TIMEOUT_SECONDS = 20.0
DOWNLOAD_TIMEOUT_SECONDS = 120.0
MAX_ADDRESS_CHARACTERS = 8192
MAX_MESSAGE_CHARACTERS = 300
BEFORE_A_BYTE_LEFT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)
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
    r"|\b(cgt|msg|chatcmpl|video|task|file|resp|modr)[-_](?=[\w-]*\d)[\w-]{6,}"  # its names for our calls
    r"|https?://\S+|\S+@\S+"  # addresses
    r"|\b[0-9a-f-]{24,}\b|\b\d{12,}\w*\b)",  # anything that looks like an id
    re.IGNORECASE,
)


class NotKnown(Unknown):
    """The provider has nothing of this name (any more): what became of it cannot be learned."""


class Answer(BaseModel):
    """What is believed of an answer: strict about what is used, silent about the rest."""

    model_config = ConfigDict(strict=True, extra="ignore")


File = tuple[str, tuple[str, bytes, str]]
"""A form's field: its name, and the file's name, bytes and type."""
A = TypeVar("A", bound=Answer)
Vocabulary = Callable[[int, str, str], type[ProviderRefusal] | None]
"""What a provider's (status, error code, error type) mean; None leaves it to the status alone."""


def make_client(
    session: aiohttp.ClientSession, key: str, base_url: str, max_answer_bytes: int = MAX_ANSWER_BYTES
) -> AsyncOpenAI:
    """The SDK over our session. It never tries twice: retrying has one owner, and that is the generator."""
    http = AiohttpClient(session, max_answer_bytes)
    return AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http)


async def post(
    client: AsyncOpenAI,
    path: str,
    submission: Submission,
    body: Mapping[str, JsonValue],
    vocabulary: Vocabulary,
    files: Sequence[File] = (),
    *,
    form: bool = False,
) -> httpx2.Response:
    """A paid call; with files it is a form in any case.

    Raises:
        ProviderRefusal: any of them.
    """
    options = _options(submission, form=form or bool(files))
    with paid(vocabulary):
        # The whole address: to join the two the SDK would parse three.
        address = str(client.base_url).rstrip("/") + path
        return await client.post(address, cast_to=httpx2.Response, body=body, files=list(files), options=options)


async def post_json(
    client: AsyncOpenAI,
    path: str,
    submission: Submission,
    body: Mapping[str, JsonValue],
    vocabulary: Vocabulary,
    files: Sequence[File] = (),
    *,
    form: bool = False,
) -> dict[str, Any]:
    """A paid call and the JSON object that it answers with.

    Raises:
        ProviderRefusal: any of them.
    """
    response = await post(client, path, submission, body, vocabulary, files, form=form)
    answer = _object(response.content)
    if answer.get("error"):
        raise refusal(response, answer["error"], vocabulary)
    return answer


def read_error(response: httpx2.Response, vocabulary: Vocabulary) -> NoReturn:
    """Raises what a JSON object means that stands where something else should be."""
    error = _object(response.content).get("error")
    raise refusal(response, error, vocabulary) if error else Unknown


@asynccontextmanager
async def post_for_events(
    client: AsyncOpenAI,
    path: str,
    submission: Submission,
    body: Mapping[str, JsonValue],
    vocabulary: Vocabulary,
    files: Sequence[File] = (),
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """A paid call whose answer grows: its server-sent events, each a JSON object, until its own `[DONE]`.

    Read here and not by the SDK, which gives up the rest of a stream at the first object that holds an error, also
    where that is about one picture of several. Whoever stops early closes the connection.

    Raises:
        ProviderRefusal: any of them; Unknown inside the block for a stream that breaks off or makes no sense.
    """
    with paid(vocabulary):
        opened: object = await client.post(
            path,
            cast_to=httpx2.Response,
            body=body,
            files=list(files),
            options=_options(submission, form=bool(files)),
            stream=True,
            stream_cls=AsyncStream[Any],
        )
    response = cast("httpx2.Response", opened)  # what `cast_to` asks for, whatever the overloads say
    try:
        if response.headers.get("content-type", "").startswith("application/json"):
            with paid(vocabulary):
                await response.aread()
            read_error(response, vocabulary)
        yield _events(response)
    finally:
        await response.aclose()


async def ask(
    client: AsyncOpenAI,
    method: Literal["GET", "DELETE", "POST"],
    path: str,
    vocabulary: Vocabulary,
    params: Mapping[str, object] | None = None,
    body: Mapping[str, JsonValue] | None = None,
    timeout_seconds: float | None = None,
) -> httpx2.Response:
    """A call that costs nothing and may be made again. Its failure says nothing about what was paid for.

    Raises:
        Throttled: look again later.
        Unavailable: look again.
        NotKnown: the provider has nothing of this name.
    """
    options: RequestOptions = {
        "timeout": httpx2.Timeout(timeout_seconds or LOOK_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        "params": params or {},
    }
    try:
        with paid(vocabulary):
            if method == "GET":
                return await client.get(path, cast_to=httpx2.Response, options=options)
            request = client.post if method == "POST" else client.delete
            return await request(path, cast_to=httpx2.Response, options=options, body=body)
    except Throttled:
        raise
    except ProviderRefusal as refused:
        if isinstance(refused.__cause__, NotFoundError):
            raise NotKnown from refused
        raise Unavailable from refused


async def ask_json(
    client: AsyncOpenAI,
    path: str,
    vocabulary: Vocabulary,
    params: Mapping[str, object] | None = None,
    body: Mapping[str, JsonValue] | None = None,
) -> dict[str, Any]:
    """GETs a JSON object, or POSTs for one; raises as `ask`, and Unavailable for what is none."""
    response = await ask(client, "GET" if body is None else "POST", path, vocabulary, params, body)
    try:
        answer = _object(response.content)
    except Unknown as error:
        raise Unavailable from error
    if answer.get("error") and not answer.get("id"):
        raise Unavailable
    return answer


@contextmanager
def paid(vocabulary: Vocabulary) -> Iterator[None]:
    """What the SDK raises about a paid call, as what it means."""
    try:
        yield
    except APIStatusError as error:
        raise refusal(error.response, error.body, vocabulary) from error
    except APIConnectionError as error:
        if isinstance(error.__cause__, BEFORE_A_BYTE_LEFT):
            raise Unavailable from error
        raise Unknown from error
    except (APIError, httpx2.HTTPError) as error:
        raise Unknown from error


def read_answer(model: type[A], answer: dict[str, Any]) -> A:
    """Raises Unknown for an answer that is not of this shape: it was made, and perhaps paid, but is no use."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise Unknown from error


def read_look(model: type[A], answer: dict[str, Any]) -> A:
    """Raises Unavailable for a look that is not of this shape: it says nothing, look again."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise Unavailable from error


def chosen(options: Mapping[str, JsonValue], known: frozenset[str]) -> dict[str, JsonValue]:
    """The options that an adapter passes on; a caller must not reach the fields that decide what is paid."""
    return {name: value for name, value in options.items() if name in known and value is not None}


def writable(text: str) -> str:
    """A text that can be sent and stored: neither NUL nor half a surrogate pair can."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


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


def refused(
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


def refusal(response: httpx2.Response, error: object, vocabulary: Vocabulary) -> ProviderRefusal:
    """`error` is the answer's error object, where the provider gave one."""
    details: dict[str, Any] = error if isinstance(error, dict) else {}
    status = response.status_code
    meaning = vocabulary(status, str(details.get("code") or ""), str(details.get("type") or ""))
    return refused(status, response.headers, meaning, details.get("message"))


def missing(count: int) -> list[Failure]:
    """Why there is less than was asked for, where the provider does not say."""
    return [Failure(code=Unavailable.code, message="The provider made fewer pictures than were asked for.")] * count


def _options(submission: Submission, *, form: bool = False) -> RequestOptions:
    headers = {"X-Client-Request-Id": str(submission.reference)}
    if form:
        headers["Content-Type"] = "multipart/form-data"
    timeout = httpx2.Timeout(submission.timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)
    return {"headers": headers, "timeout": timeout}


def _object(content: bytes | str) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unknown from error
    if not isinstance(answer, dict):
        raise Unknown
    return answer


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    data: list[bytes] = []
    try:
        async for line in _lines(response):
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").lstrip())
            elif not line and data:
                text = b"\n".join(data).decode(errors="replace")
                data.clear()
                if text == "[DONE]":
                    return
                yield _object(text)
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unknown from error


async def _lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Split where server-sent events are, at carriage returns and line feeds: `aiter_lines` splits a text also at
    U+0085, U+2028 and U+2029, which may stand in the midst of its JSON. A last line without an end is none."""
    parts: list[bytes] = []
    is_torn = False
    async for chunk in response.aiter_bytes():
        rest = chunk.removeprefix(b"\n") if is_torn else chunk
        is_torn = chunk.endswith(b"\r")
        for part in rest.splitlines(keepends=True):
            parts.append(part)
            if part.endswith((b"\r", b"\n")):
                yield b"".join(parts).rstrip(b"\r\n")
                parts.clear()


def _by_status(status: int) -> type[ProviderRefusal]:
    if status >= 500:
        # 504: somebody between us and the provider stopped waiting, and it may have been done
        return Unknown if status == 504 else Unavailable
    return _MEANING.get(status, Invalid)

"""JSON and forms over the shared guarded session, for the vendors whose SDK would bring an HTTP client of its own.

The key goes to the vendor's own address and nowhere else: an address inside an answer is never asked with it, and
redirects are answers.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from pydantic import JsonValue

from contracts.facts import Failure
from generator.providers import sdk
from generator.providers.interface import (
    Given,
    Invalid,
    Item,
    ProviderRefusal,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from generator.providers.transport import MAX_ANSWER_BYTES
from runtime.outbound import Refused

LOOK_TIMEOUT_SECONDS = 20.0
"""For a question about a task, a list, a cancellation."""
DOWNLOAD_TIMEOUT_SECONDS = 240.0
"""For an output that only our key can fetch."""
_TASK_ID = re.compile(r"[\w.:-]{1,200}")
_DOTS = re.compile(r"\.+")
_NOTHING_LEFT = (
    Refused,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientConnectorError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)


class Said(NamedTuple):
    """What a vendor's own words come to; where they say nothing, the status and the headers do."""

    refusal: type[ProviderRefusal] | None = None
    words: object = None
    """What may be shown of it, once ids, keys and addresses are gone."""
    wait_seconds: float | None = None


Reading = Callable[[int, Mapping[str, Any]], Said]
"""What a vendor says with a (status, body)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def mime_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any]:
        """Of a paid call: raises Unknown for anything but an object."""
        answer = self._object()
        if answer is None:
            raise Unknown
        return answer

    def told(self) -> dict[str, Any]:
        """Of a question that may be asked again: raises Unavailable for anything but an object."""
        answer = self._object()
        if answer is None:
            raise Unavailable
        return answer

    def problem(self) -> dict[str, Any]:
        """The object in the body, empty where there is none: a proxy speaks HTML."""
        return self._object() or {}

    def _object(self) -> dict[str, Any] | None:
        try:
            answer = json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None


class Caller:
    """One vendor, with our key in `headers`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        headers: Mapping[str, str],
        reading: Reading,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._headers = headers
        self._reading = reading
        self._max_answer_bytes = max_answer_bytes

    async def pay(
        self,
        submission: Submission,
        path: str,
        body: Mapping[str, JsonValue] | None = None,
        form: aiohttp.FormData | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The one paid call of a submission.

        Raises:
            ProviderRefusal: any of them.
        """
        told = {"X-Client-Request-Id": str(submission.reference), **(headers or {})}
        reply = await self._send("POST", path, submission.timeout_seconds, told, json=body, data=form)
        return self._checked(reply)

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, JsonValue] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = LOOK_TIMEOUT_SECONDS,
        form: aiohttp.FormData | None = None,
    ) -> Reply:
        """A call that costs nothing and may be repeated, so a lost answer is as good as none.

        Raises:
            Throttled, Unavailable: ask again later; a key that is not accepted now may be replaced.
            Unknown: the vendor does not know, or no longer knows, what we ask about.
            Invalid: whatever else it refuses.
        """
        return self.answered(await self.question(method, path, body, headers, timeout_seconds, form))

    async def look(self, path: str) -> dict[str, Any]:
        """How a task stands, in the vendor's words. Raises as `ask`, and Unavailable for words that are none."""
        return (await self.ask("GET", path)).told()

    async def known(self, path: str) -> dict[str, Any]:
        """As `look`, but empty for a task that the vendor does not know."""
        try:
            return await self.look(path)
        except (sdk.NotKnown, Invalid):
            return {}

    async def question(
        self,
        method: str,
        path: str,
        body: Mapping[str, JsonValue] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = LOOK_TIMEOUT_SECONDS,
        form: aiohttp.FormData | None = None,
    ) -> Reply:
        """As `ask`, for a vendor whose refusals are answers too. Raises Unavailable."""
        try:
            return await self._send(method, path, timeout_seconds, headers or {}, json=body, data=form)
        except Unknown as error:
            raise Unavailable from error

    def answered(self, reply: Reply) -> Reply:
        """Raises as `ask`."""
        if reply.status in {404, 410}:
            raise sdk.NotKnown
        if 300 <= reply.status < 400:
            raise Unavailable
        try:
            return self._checked(reply)
        except (Throttled, Invalid):
            raise
        except ProviderRefusal as error:
            raise Unavailable from error

    async def _send(
        self, method: str, path: str, timeout_seconds: float, headers: Mapping[str, str], **body: Any
    ) -> Reply:
        timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=sdk.CONNECT_TIMEOUT_SECONDS)
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                headers={**self._headers, **headers},
                allow_redirects=False,
                timeout=timeout,
                **body,
            ) as response:
                return Reply(response.status, response.headers, await self._read(response))
        except _NOTHING_LEFT as error:
            raise Unavailable from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: what aiohttp's parser says of some malformed answers; TimeoutError is an OSError
            raise Unknown from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        received = 0
        async for chunk in response.content.iter_any():
            received += len(chunk)
            if received > self._max_answer_bytes:
                raise Unknown
            chunks.append(chunk)
        return b"".join(chunks)

    def _checked(self, reply: Reply) -> Reply:
        if reply.status < 300:
            return reply
        raise self.refusal(reply.status, reply.headers, reply.problem())

    def refusal(self, status: int, headers: Mapping[str, str], problem: Mapping[str, Any]) -> ProviderRefusal:
        said = self._reading(status, problem)
        refusal = sdk.refused(status, headers, said.refusal, said.words)
        if isinstance(refusal, Throttled) and refusal.retry_after_seconds is None:
            refusal.retry_after_seconds = said.wait_seconds
        return refusal


def task_id(value: object) -> str:
    """An id that can stand in a path. Raises Unknown: a task may run, and we could not ask for it."""
    if not isinstance(value, str) or not _TASK_ID.fullmatch(value) or _DOTS.fullmatch(value):
        raise Unknown
    return value


def in_path(words: str) -> str:
    """A model's or a voice's name as one or several parts of a path, none of which leads out of it.

    Raises:
        Invalid: there is no such name.
    """
    parts = words.split("/")
    if not all(parts) or any(_DOTS.fullmatch(part) for part in parts):
        raise Invalid
    return "/".join(quote(part, safe=":") for part in parts)


def decoded(text: object) -> bytes:
    """An output out of base64, which some wrap in lines or in an address of its own. Raises Unknown."""
    if not isinstance(text, str):
        raise Unknown
    bare = text.partition(",")[2] if text.startswith("data:") else text
    try:
        content = binascii.a2b_base64("".join(bare.split()), strict_mode=True)
    except ValueError as error:
        raise Unknown from error
    if not content:
        raise Unknown
    return content


def encoded(content: bytes) -> str:
    """For a body of JSON."""
    return base64.b64encode(content).decode()


def filled(submission: Submission, items: Sequence[Item]) -> Sequence[Item]:
    """Exactly as many items as were asked for."""
    missing = Failure(code=Unavailable.code, message="The provider made fewer than were asked for.")
    return [*items[: submission.count], *[missing] * (submission.count - len(items))]


def failed(submission: Submission, why: type[ProviderRefusal], words: str | None = None) -> Sequence[Item]:
    """A task that ended with nothing."""
    return [why(words).failure] * submission.count


def only(submission: Submission, *roles: str) -> Given | None:
    """What a submission gives in one of these roles. Raises Invalid where that is several: none is passed over."""
    found = [given for given in submission.given if given.role in roles]
    if len(found) > 1:
        raise Invalid("This model starts from one picture, and not from several.")
    return found[0] if found else None


def address(given: Given) -> str:
    """Where a vendor can read it: its address, or itself as a data URI."""
    if given.url is not None:
        return given.url
    return f"data:{given.mime_type or 'image/png'};base64,{encoded(given.content or b'')}"


def pixels(size: str | None) -> tuple[int, int] | None:
    """Width and height of a size as in `1024x1024`."""
    width, cross, height = (size or "").partition("x")
    return (int(width), int(height)) if cross and width.isdecimal() and height.isdecimal() else None


def nearest_ratio(size: str | None, ratios: Sequence[str]) -> str | None:
    """Which of a vendor's ratios, written `16:9` or `1280:720`, is closest to a size; None where no size is asked."""
    asked = pixels(size)
    if asked is None or 0 in asked:
        return None

    def distance(ratio: str) -> float:
        width, _, height = ratio.partition(":")
        wanted, offered = asked[0] * int(height), int(width) * asked[1]
        return max(wanted, offered) / min(wanted, offered)

    return min(ratios, key=distance)

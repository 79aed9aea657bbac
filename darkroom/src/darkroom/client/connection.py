"""One gateway's end of the wire: asks, asks again where nothing can happen twice, and reads events."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
from aiohttp.http_exceptions import LineTooLong
from pydantic_core import to_json

from darkroom.client.errors import (
    ApiError,
    ClosedError,
    ElsewhereError,
    Refused,
    Unavailable,
    UnreachableError,
    refused,
)

CONNECT_SECONDS = 5
ANSWER_SECONDS = 120
"""An upload is looked at before it is answered."""
SILENCE_SECONDS = 60
"""The gateway writes a comment more often than that."""
PAUSES_SECONDS = (0.5, 1.0, 2.0)
"""Before each time that something is asked again."""
MAX_PAUSE_SECONDS = 30
"""Who is told to wait longer is told so at once."""
MAX_ANSWER_BYTES = 32 << 20
MAX_EVENT_BYTES = 4 << 20
UNSURE = (500, 502, 503, 504)
"""A defect, or said by whoever stands between: whether it was done is not known."""

Body = Callable[[], aiohttp.FormData]


class Connection:
    """Made on first use, for the loop and the process that use it."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        # A file that it was read from ends with a line end.
        self._headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
        self._opened: aiohttp.ClientSession | None = None
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False

    @property
    def session(self) -> aiohttp.ClientSession:
        """Raises ClosedError and ElsewhereError."""
        if self._closed:
            raise ClosedError
        if self._opened is not None and self._home != _here():
            raise ElsewhereError
        if self._opened is None:
            self._home = _here()
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
            self._opened = aiohttp.ClientSession(timeout=timeout)
        return self._opened

    async def close(self) -> None:
        """What belongs to another loop or process is not touched."""
        self._closed = True
        if self._opened is not None and self._home == _here():
            await self._opened.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        is_repeatable: bool,
        body: object = None,
        form: Body | None = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer's body.

        `is_repeatable`: it does no harm to do it twice, so it is asked again if the answer is lost.

        Raises:
            Refused: as the exception of its code.
            UnreachableError: nobody answered.
            ApiError: there is something in it that no request can carry, such as half a letter.
        """
        sent = {**self._headers, **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        known = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        pauses = iter(PAUSES_SECONDS)
        while True:
            try:
                data = form() if form is not None else to_json(body) if body is not None else None
                return await self._once(method, path, headers=sent, params=known, data=data)
            except ValueError as error:
                raise ApiError(f"This cannot be sent: {error}") from error
            except (Refused, UnreachableError) as error:
                pause = next(pauses, None)
                if pause is None or not _may_ask_again(error, is_repeatable):
                    raise
                told = error.retry_after_seconds if isinstance(error, Refused) else None
                await asyncio.sleep((pause if told is None else told) * (1 + random.random() / 4))

    async def events(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events, by name and data, until the gateway ends them.

        Raises:
            Refused: there are none to be had.
            UnreachableError: the stream broke.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        options: dict[str, Any] = {"headers": self._headers, "timeout": timeout, "read_bufsize": MAX_EVENT_BYTES}
        try:
            async with self.session.get(self.url + path, allow_redirects=False, **options) as answer:
                if answer.status != 200:
                    raise refused(answer.status, "", answer.headers.get("Retry-After"))
                event, data = "message", []
                async for line in answer.content:
                    field, _, value = line.decode().rstrip("\r\n").partition(":")
                    if field == "event":
                        event = value.strip()
                    elif field == "data":
                        data.append(value.removeprefix(" "))
                    elif not field and not value and data:
                        yield event, json.loads("\n".join(data))
                        event, data = "message", []
        except (aiohttp.ClientError, LineTooLong, TimeoutError, ValueError) as error:
            # ValueError: what is no JSON.
            raise UnreachableError(self.url, error) from error

    async def _once(self, method: str, path: str, **options: Any) -> bytes:
        try:
            async with self.session.request(method, self.url + path, allow_redirects=False, **options) as answer:
                content = bytearray()
                async for chunk in answer.content.iter_chunked(1 << 16):
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise aiohttp.ClientPayloadError(f"more than {MAX_ANSWER_BYTES} bytes")
                if answer.status < 300:
                    return bytes(content)
                raise refused(answer.status, content.decode(errors="replace"), answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(self.url, error) from error


def _here() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()


def passes(error: Exception) -> bool:
    """Whether the same may be answered otherwise a little later."""
    return isinstance(error, UnreachableError) or (isinstance(error, Refused) and error.status in (429, *UNSURE))


def _may_ask_again(error: Refused | UnreachableError, is_repeatable: bool) -> bool:
    if isinstance(error, UnreachableError):
        # Without a connection nothing was asked.
        return is_repeatable or isinstance(error.__cause__, aiohttp.ClientConnectorError)
    if (error.retry_after_seconds or 0) > MAX_PAUSE_SECONDS:
        return False
    nothing_was_done = isinstance(error, Unavailable) or error.status == 429
    return nothing_was_done or (is_repeatable and error.status in UNSURE)


def _text(value: object) -> str:
    return to_json(value).decode().strip('"') if not isinstance(value, str) else value

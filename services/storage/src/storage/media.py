"""`GET`, `HEAD` and `OPTIONS` of `/media/<token>/<variant>.<extension>`, as ASGI.

An object never changes under its address, so answers may be kept for ever, and the hash of the content is the ETag.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs

import structlog

from contracts.media import PATH
from runtime.database import Database
from runtime.health import is_transient
from storage import assets
from storage.access import Access
from storage.addresses import EXTENSIONS, KEY, ORIGINAL
from storage.assets import Named, Sought
from storage.handover import Handover
from storage.objects import Absent, Buffer, Objects
from storage.pictures import Unusable
from storage.ranges import Unsatisfiable, asked_range, matches
from storage.variants import Variants

RETRY_AFTER_SECONDS = 5
_ADDRESS = re.compile(PATH + KEY)
ALWAYS = {
    "x-content-type-options": "nosniff",
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "content-security-policy": "default-src 'none'; sandbox",
}
"""What every answer says; a proxy that media is handed over to is told to repeat it (deploy/nginx/kept.conf)."""
PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD",
    "access-control-allow-headers": "*, authorization",
    "access-control-max-age": "600",
}
"""What a page of another origin is told before it asks with headers of its own, as the gateway tells it."""

log = structlog.get_logger()


class Refusal(Exception):
    """An answer without media."""

    def __init__(self, status: int, error: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Media:
    """Serves what is stored."""

    def __init__(
        self,
        database: Database,
        objects: Objects,
        variants: Variants,
        access: Access,
        handover: Handover | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._variants = variants
        self._access = access
        self._handover = handover

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._answer(scope, receive, send)
        except Refusal as refusal:
            await refuse(send, refusal, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        address = _ADDRESS.fullmatch(scope["path"])
        if address is None:
            raise Refusal(404, "not_found", "There is no such media.")
        if scope["method"] == "OPTIONS":
            await _start(send, 204, ALWAYS | PREFLIGHT)
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["method"] not in {"GET", "HEAD"}:
            raise Refusal(405, "method_not_allowed", "Media can only be read.", allow="GET, HEAD, OPTIONS")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        token, variant, extension = address.groups()
        signature = self._access.signature(scope["path"], query)
        if self._access.all_signed and signature is None:
            raise Refusal(403, "forbidden", "This address has expired or was never valid.")
        sought = await self._seek(token, variant)
        if sought is None or not self._access.allows(sought, signature):
            raise Refusal(404, "not_found", "There is no such media.")
        named = await self._find(sought, variant, extension)
        asked = _asked(scope)
        headers = ALWAYS | {
            "etag": f'"{named.sha256}"',
            "cache-control": self._access.caching(sought, signature),
            "content-type": named.mime_type,
            "content-disposition": f'{_disposition(query)}; filename="{token[:8]}-{variant}.{extension}"',
            "accept-ranges": "bytes",
        }
        if "if-match" in asked and not matches(asked["if-match"], named.sha256, strongly=True):
            raise Refusal(412, "precondition_failed", "The media is another one.")
        if matches(asked.get("if-none-match"), named.sha256):
            await _start(send, 304, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        if self._handover is not None and scope["method"] == "GET":
            await self._hand_over(send, named, headers, self._access.seconds_left(sought, signature))
            return
        start, stop, status = _part(asked, named) if scope["method"] == "GET" else (0, named.size_bytes, 200)
        headers["content-length"] = str(stop - start)
        if status == 206:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{named.size_bytes}"
        if scope["method"] == "HEAD":
            await _start(send, status, headers)
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._stream(receive, send, named, start, stop, status, headers)

    async def _seek(self, token: str, variant: str) -> Sought | None:
        try:
            return await assets.seek(self._database, token, variant)
        except Exception as error:
            raise _away(error) from error

    async def _find(self, sought: Sought, variant: str, extension: str) -> Named:
        try:
            named = sought.original if variant == ORIGINAL else await self._variants.get(sought, variant)
        except Unusable as error:
            raise Refusal(404, "not_found", f"This variant cannot be made: {error}.") from error
        except Exception as error:
            raise _away(error) from error
        if EXTENSIONS[named.mime_type] != extension:
            raise Refusal(404, "not_found", "There is no such media.")
        return named

    async def _hand_over(self, send: Any, named: Named, headers: dict[str, str], seconds_left: int | None) -> None:
        assert self._handover is not None  # noqa: S101
        try:
            status, answered = await self._handover.answer(named, headers, seconds_left)
        except Exception as error:
            raise _away(error) from error
        await _start(send, status, answered)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(
        self, receive: Any, send: Any, named: Named, start: int, stop: int, status: int, headers: dict[str, str]
    ) -> None:
        """The answer begins when the first bytes are there: until then, it can still be another one."""
        async with aclosing(self._objects.pieces(named.object_name, start, stop - start)) as pieces:
            try:
                first = await anext(pieces, b"")
            except Exception as error:
                raise _away(error) from error
            await _start(send, status, headers)
            await send({"type": "http.response.body", "body": first, "more_body": True})
            if len(first) < stop - start:
                await _send_rest(receive, send, pieces)
            await send({"type": "http.response.body", "body": b""})


async def refuse(send: Any, refusal: Refusal, *, head: bool) -> None:
    """Answers in the shape that every address outside a dialect has."""
    message = str(refusal)
    body = {"error": refusal.error, "message": message, "detail": message, "statusCode": refusal.status}
    payload = json.dumps(body).encode()
    headers = ALWAYS | {
        "content-type": "application/json",
        "content-length": str(len(payload)),
        "cache-control": "no-store",
        **refusal.headers,
    }
    await _start(send, refusal.status, headers)
    await send({"type": "http.response.body", "body": b"" if head else payload})


def _asked(scope: Any) -> dict[str, str]:
    """The headers by name; of several lines of one name all count (RFC 9110, 5.3)."""
    asked: dict[str, str] = {}
    for name, value in scope["headers"]:
        given, line = name.decode("latin-1"), value.decode("latin-1")
        asked[given] = f"{asked[given]}, {line}" if given in asked else line
    return asked


def _disposition(query: dict[str, list[str]]) -> str:
    """`download=1` has a browser keep the file; its name is ours, and says nothing of anybody."""
    return "attachment" if query.get("download", [""])[-1] == "1" else "inline"


def _part(asked: dict[str, str], named: Named) -> tuple[int, int, int]:
    """First byte, byte after the last, status."""
    if "range" not in asked or not matches(asked.get("if-range", "*"), named.sha256, strongly=True):
        return 0, named.size_bytes, 200
    try:
        part = asked_range(asked["range"], named.size_bytes)
    except Unsatisfiable:
        message = f"There are {named.size_bytes} bytes."
        raise Refusal(416, "range_not_satisfiable", message, content_range=f"bytes */{named.size_bytes}") from None
    return (*part, 206) if part else (0, named.size_bytes, 200)


def _away(error: Exception) -> Exception:
    if isinstance(error, Absent):
        log.error("object.missing", name=str(error))
        return Refusal(404, "not_found", "There is no such media.")
    if is_transient(error):
        log.warning("media.unavailable", error=f"{type(error).__name__}: {error}")
        message = "Media cannot be read at the moment."
        return Refusal(503, "unavailable", message, retry_after=str(RETRY_AFTER_SECONDS))
    return error


async def _send_rest(receive: Any, send: Any, pieces: AsyncIterator[Buffer]) -> None:
    """To whoever hung up a server sends nothing, at once and without a word: all of a film would be read for nobody."""
    hung_up = asyncio.create_task(_hung_up(receive), name="reader of media")
    try:
        async for piece in pieces:
            if hung_up.done():
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        hung_up.cancel()


async def _hung_up(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(send: Any, status: int, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})

"""Getting the bytes of one output: from the provider's address, or from the claims bucket."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import IO
from uuid import UUID

import aiohttp
import structlog

from contracts.facts import Kind, Output, Request
from runtime.outbound import Gone, OutboundSettings, Refused, Unreachable, fetch, make_session
from storage.claims import Claims
from storage.nameless import nameless

PAUSES_SECONDS = (0.3, 1.0, 3.0, 10.0)
"""Between the tries of one download; the last again and again, as long as there is time."""
IN_MEMORY_BYTES = 1 << 20
"""A picture so small is never on disk; whatever is larger is written so much at a time."""
AT_ONCE = 32
"""Downloads under way in one process; the others wait their turn."""

FreshAddresses = Callable[[UUID, int], Awaitable[str | None]]
"""Asks where output `index` of a generation is by now; None where nobody knows."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one output: bytes, and seconds for all tries together."""

    max_bytes: int
    give_up_seconds: float


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes that were received whole, hashed on the way. A picture is in memory while small; what plays is in a
    file, which other processes can open."""

    content: IO[bytes]
    size: int
    sha256: str


class Downloads:
    """The ways in which bytes come to us."""

    def __init__(
        self,
        outbound: OutboundSettings,
        claims: Claims,
        fresh_address: FreshAddresses,
        *,
        pictures: Bounds,
        recordings: Bounds,
    ) -> None:
        self._outbound = outbound
        self._claims = claims
        self._fresh_address = fresh_address
        self._pictures = pictures
        self._recordings = recordings
        self._places = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Raises ValueError where the operator's allow-list is malformed."""
        self._session = make_session(self._outbound)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, request: Request, output: Output) -> Body:
        """The bytes of an output; the caller closes them.

        Raises:
            Refused: they will never come, or are not acceptable.
            Unreachable: they did not come, although asked for several times.
            OSError, nats.errors.Error: something of ours is away.
        """
        bounds = self._pictures if request.kind is Kind.IMAGE else self._recordings
        if output.claim is not None:
            return await self._claim(output.claim, bounds, request.kind)
        if output.url is None:
            raise Refused("the provider gave neither an address nor bytes")
        async with self._places:
            try:
                return await self._fetch(output.url, bounds, request.kind)
            except (Gone, Unreachable) as error:
                fresh = await self._fresh_address(request.generation_id, output.index)
                if fresh is None:
                    raise
                log.warning("download.fresh_address", index=output.index, error=str(error))
            return await self._fetch(fresh, bounds, request.kind)

    async def _claim(self, name: str, bounds: Bounds, kind: Kind) -> Body:
        arriving = Arriving(kind, bounds.max_bytes)
        try:
            await arriving.take(self._claims.chunks(name, bounds.max_bytes))
            return await arriving.whole()
        except BaseException:
            arriving.close()
            raise

    async def _fetch(self, url: str, bounds: Bounds, kind: Kind) -> Body:
        """Goes on where a connection broke off, where the server lets us."""
        give_up_at = time.monotonic() + bounds.give_up_seconds
        tries = 0
        arriving = Arriving(kind, bounds.max_bytes)
        try:
            while True:
                is_rest = bool(arriving.asked_for())
                try:
                    await self._try(url, arriving, give_up_at - time.monotonic())
                    return await arriving.whole()
                except Refused as error:
                    # Who has no rest may have all of it: perhaps all had come before the connection broke.
                    if isinstance(error, Gone) or not is_rest:
                        raise
                    arriving.begin_again()
                    continue
                except Unreachable as error:
                    pause = PAUSES_SECONDS[min(tries, len(PAUSES_SECONDS) - 1)]
                    if time.monotonic() + pause >= give_up_at:
                        raise
                    log.warning("download.waits", error=str(error), seconds=pause, received=arriving.size)
                tries += 1
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))
        except BaseException:
            arriving.close()
            raise

    async def _try(self, url: str, arriving: "Arriving", seconds: float) -> None:
        assert self._session is not None, "not started"  # noqa: S101
        async with fetch(
            self._session,
            url,
            max_bytes=arriving.max_bytes,
            deadline_seconds=seconds,
            headers=arriving.asked_for(),
        ) as download:
            arriving.begin(download.response)
            await arriving.take(download.chunks())


class Arriving:
    """What has come of one body so far, also over several connections."""

    def __init__(self, kind: Kind, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._content: IO[bytes] = SpooledTemporaryFile(IN_MEMORY_BYTES) if kind is Kind.IMAGE else nameless()  # noqa: SIM115
        self._digest = sha256()
        self._unwritten = bytearray()
        self._tag: str | None = None

    def asked_for(self) -> dict[str, str]:
        """The headers that ask for the rest (RFC 9110, 13.1.5 and 14.2); none where all of it has to come again."""
        if not self.size or self._tag is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self._tag}

    def begin(self, response: aiohttp.ClientResponse) -> None:
        """Raises Refused for a part that was not asked for."""
        if response.status == 206:
            if not self.asked_for() or not _begins_at(response.headers.get("Content-Range", ""), self.size):
                raise Refused("the server answered with a part that was not asked for")
            return
        self.begin_again()
        tag = response.headers.get("ETag")
        self._tag = tag if tag is not None and not tag.startswith("W/") else response.headers.get("Last-Modified")

    def begin_again(self) -> None:
        """Forgets what came, if anything did."""
        if self.size:
            self.size = 0
            self._unwritten.clear()
            self._digest = sha256()
            self._content.seek(0)
            self._content.truncate()

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """Raises Refused for more than is allowed, and what the chunks raise."""
        async for chunk in chunks:
            self.size += len(chunk)
            if self.size > self.max_bytes:
                raise Refused(f"the answer is larger than {self.max_bytes} bytes")
            self._unwritten += chunk
            if len(self._unwritten) >= IN_MEMORY_BYTES:
                await asyncio.to_thread(self._write)

    async def whole(self) -> Body:
        """All that came."""
        if self.size > IN_MEMORY_BYTES:
            await asyncio.to_thread(self._write)
        else:
            self._write()
        self._content.flush()
        return Body(self._content, self.size, self._digest.hexdigest())

    def close(self) -> None:
        self._content.close()

    def _write(self) -> None:
        self._digest.update(self._unwritten)
        self._content.write(self._unwritten)
        self._unwritten = bytearray()


def _begins_at(content_range: str, offset: int) -> bool:
    found = re.match(r"bytes (\d{1,18})-", content_range, re.ASCII)
    return found is not None and int(found[1]) == offset

"""Getting the bytes of one output: from the provider's address, or from the claims bucket."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import IO

import aiohttp
import structlog

from contracts.facts import Output
from runtime.outbound import OutboundSettings, Refused, Unreachable, fetch, make_session
from storage.claims import Claims

PAUSES_SECONDS = (0.3, 1.0, 3.0)
"""Between the tries of one download, so that there are at most four."""
IN_MEMORY_BYTES = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes that were received whole, hashed on the way; in memory while small, else in a temporary file."""

    content: IO[bytes]
    size: int
    sha256: str


class Downloads:
    """The ways in which bytes come to us."""

    def __init__(self, outbound: OutboundSettings, claims: Claims, *, max_bytes: int, give_up_seconds: float) -> None:
        self._outbound = outbound
        self._claims = claims
        self._max_bytes = max_bytes
        self._give_up_seconds = give_up_seconds
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Raises ValueError where the operator's allow-list is malformed."""
        self._session = make_session(self._outbound)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, output: Output) -> Body:
        """The bytes of an output; the caller closes them.

        Raises:
            Refused: they will never come, or are not acceptable.
            Unreachable: they did not come, although asked for several times.
            OSError, nats.errors.Error: something of ours is away.
        """
        if output.claim is not None:
            return await receive(self._claims.chunks(output.claim, self._max_bytes))
        if output.url is None:
            raise Refused("the provider gave neither an address nor bytes")
        give_up_at = time.monotonic() + self._give_up_seconds
        pauses = iter(PAUSES_SECONDS)
        while True:
            try:
                return await self._try(output.url, give_up_at - time.monotonic())
            except Unreachable as error:
                pause = next(pauses, None)
                if pause is None or time.monotonic() + pause >= give_up_at:
                    raise
                log.warning("download.waits", index=output.index, error=str(error), seconds=pause)
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))

    async def _try(self, url: str, seconds: float) -> Body:
        assert self._session is not None, "not started"  # noqa: S101
        async with fetch(self._session, url, max_bytes=self._max_bytes, deadline_seconds=seconds) as download:
            return await receive(download.chunks())


async def receive(chunks: AsyncIterator[bytes]) -> Body:
    """Takes all chunks in."""
    content: IO[bytes] = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - whoever asked closes it
    digest = sha256()
    size = 0
    try:
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            if size > IN_MEMORY_BYTES:
                await asyncio.to_thread(content.write, chunk)
            else:
                content.write(chunk)
    except BaseException:
        content.close()
        raise
    return Body(content, size, digest.hexdigest())

"""Asking clamd whether it knows what was uploaded (its INSTREAM command, over TCP).

Clean is what it answers `stream: OK` about, to the letter. A limit that was exceeded, an error, a time-out or nobody
there is not clean: clamd says OK of whatever it did not look at, unless AlertExceedsMax is set.
"""

import asyncio
import struct
from typing import IO

import structlog

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 60.0
MAX_ANSWER_BYTES = 4096
_CLEAN = b"stream: OK"

log = structlog.get_logger()


class Infected(Exception):
    """It is not clean; no name of what was found, which would only help its author."""


class Scanner:
    """A clamd on the network."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def scan(self, content: IO[bytes]) -> None:
        """Returns where the content is clean.

        Raises:
            Infected: clamd says anything else than that.
            OSError: it says nothing.
        """
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                answer = await self._ask(reader, writer, content)
            finally:
                writer.close()
        if answer != _CLEAN:
            log.warning("upload.not_clean", answer=answer.decode("ascii", "replace")[:200])
            raise Infected

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: IO[bytes]) -> bytes:
        writer.write(b"zINSTREAM\0")
        content.seek(0)
        try:
            while chunk := await asyncio.to_thread(content.read, CHUNK_BYTES):
                writer.write(struct.pack(">I", len(chunk)) + chunk)
                await writer.drain()
            writer.write(struct.pack(">I", 0))
            await writer.drain()
        except ConnectionError:
            pass  # it hangs up when there is too much; what it said before is still there
        answer = await reader.read(MAX_ANSWER_BYTES)
        if not answer:
            raise ConnectionError("clamd said nothing")
        return answer.rstrip(b"\0\n")

"""A link that can be bad: a TCP proxy on loopback between a service and what it uses."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from enum import StrEnum

CHUNK_BYTES = 65_536


class Fault(StrEnum):
    """What is wrong with a link."""

    NONE = "none"
    SLOW = "slow"
    """200 ms ± 100 more in each direction."""
    RESET = "reset"
    """Every connection is reset, and so is every new one."""
    BLACK_HOLE = "black_hole"
    """Connections are taken and nothing is passed on."""
    HALF_OPEN = "half_open"
    """Requests arrive, answers do not."""


@dataclass(slots=True)
class Link:
    """One proxy. `port` is where it listens, `target` what it leads to; `fault` may be changed at any time."""

    name: str
    port: int
    target: int
    fault: Fault = Fault.NONE
    delay_seconds: float = 0.2
    connections: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def stop(self) -> None:
        self.reset()
        if self._server is not None:
            self._server.close()

    def set(self, fault: Fault) -> None:
        self.fault = fault
        if fault is Fault.RESET:
            self.reset()

    def reset(self) -> None:
        """Both ends get an RST, as from a firewall that forgot them."""
        for writer in list(self._open):
            self._abort(writer)

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        if self.fault is Fault.RESET:
            self._abort(writer)
            self._open.discard(writer)
            return
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._abort(writer)
            self._open.discard(writer)
            return
        self._open.add(requests)
        try:
            await asyncio.gather(self._pass(reader, requests, answer=False), self._pass(answers, writer, answer=True))
        finally:
            for each in (writer, requests):
                self._open.discard(each)
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self.fault is Fault.SLOW:
                    await asyncio.sleep(self.delay_seconds)
                # What was swallowed is gone for good, as on a link that was cut: the stream cannot go on after it.
                if self.fault is Fault.BLACK_HOLE or (self.fault is Fault.HALF_OPEN and answer):
                    await self._swallow(reader)
                    break
                writer.write(chunk)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        """Until the link is healed; then both ends are told, as the first packet after it would."""
        while self.fault in {Fault.BLACK_HOLE, Fault.HALF_OPEN}:
            with contextlib.suppress(TimeoutError):
                if not await asyncio.wait_for(reader.read(CHUNK_BYTES), 0.2):
                    return

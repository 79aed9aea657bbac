"""Clients of event streams, as cheap as a client can be: a protocol that notes when it heard what."""

import asyncio
import re
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

HEARD = b"event: generation\n"
OPEN_SECONDS = 60
HEARD_SECONDS = 180
AT_ONCE = 100
_ID = re.compile(rb"^id: ([!-~]+)\n", re.MULTILINE)


class Listener(asyncio.Protocol):
    """A client that follows: where its stream ends, it comes back with the last id that it had."""

    def __init__(self, url: str, path: str, token: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        )
        self._last: bytes | None = None
        self._tail = b""
        self._is_closing = False
        self._coming_back: asyncio.Task[None] | None = None
        self.is_open = asyncio.Event()
        self.came_back = 0
        self.heard: list[float] = []
        """When each event arrived, on this machine's monotonic clock."""

    async def open(self) -> None:
        async with asyncio.timeout(OPEN_SECONDS):
            await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
            await self.is_open.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._tail = transport, b""
        last = f"Last-Event-ID: {self._last.decode()}\r\n" if self._last else ""
        transport.write(f"{self._head}{last}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        text = self._tail + data
        self.heard += [now] * text.count(HEARD)
        if (ids := _ID.findall(text)) != []:
            self._last = ids[-1]
        self._tail = text[-len(HEARD) + 1 :]
        if not self.is_open.is_set() and b"event: snapshot" in text:
            self.is_open.set()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_closing:
            self.came_back += 1
            self._coming_back = asyncio.ensure_future(self.open())

    def close(self) -> None:
        self._is_closing = True
        if self._coming_back is not None:
            self._coming_back.cancel()
        self._transport.close()


async def listening(url: str, paths: Sequence[str], tokens: Sequence[str]) -> list[Listener]:
    """Opens a stream for each path, with the token beside it; all have had their first event."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(path: str, token: str) -> Listener:
        listener = Listener(url, path, token)
        async with room:
            await listener.open()
        return listener

    return list(await asyncio.gather(*map(one, paths, tokens)))


async def all_heard(listeners: Sequence[Listener], events: int) -> list[float]:
    """Waits until each heard so many events; when each heard its last.

    Raises:
        RuntimeError: something was not told within `HEARD_SECONDS`.
    """
    give_up_at = time.perf_counter() + HEARD_SECONDS
    while any(len(each.heard) < events for each in listeners):
        if time.perf_counter() > give_up_at:
            heard = sum(len(each.heard) for each in listeners)
            raise RuntimeError(f"{heard} of {events * len(listeners)} events were heard")
        await asyncio.sleep(0.005)
    return [each.heard[-1] for each in listeners]

"""What a link to the broker that breaks, while both ends live, leaves of what was asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from runtime.broker import make_broker
from runtime.consumption import Consumers
from runtime.settings import BrokerSettings
from runtime.tests.stage import Note, Stage, consuming, settled, until

pytestmark = pytest.mark.connected


class Link:
    """Passes everything on between a client and the broker, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, thither = await asyncio.open_connection(*self._to)
        self._ends |= {writer, thither}
        await asyncio.gather(self._pass(reader, thither), self._pass(there, writer), return_exceptions=True)
        for end in (writer, thither):
            self._ends.discard(end)
            end.close()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(1 << 16):
            writer.write(said)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    address = urlsplit(url)
    assert address.hostname and address.port
    link = Link(address.hostname, address.port)
    server = await asyncio.start_server(link.connected, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    yield link
    server.close()
    link.cut()


async def test_a_link_that_breaks_leaves_no_request_behind(stage: Stage, nats_server: object) -> None:
    """A second one would be served beside it, and renewed beside it for ever: twice the slots would be taken."""
    running, most = 0, 0

    async def open_requests() -> int:
        info = await stage.jetstream.consumer_info(stage.name, stage.consumer.durable)
        return info.num_waiting or 0

    async with linked(nats_server.nats_url) as link:  # type: ignore[attr-defined]
        again = asyncio.Event()

        async def reconnected() -> None:
            await consumers.reconnected()
            again.set()

        broker = make_broker(BrokerSettings(nats_url=f"nats://127.0.0.1:{link.port}"), "runtime-test", reconnected)
        await broker.start()
        consumers = Consumers(broker)

        @consumers.each(stage.consumer, Note, slots=3)
        async def handle(note: Note) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.05)
            running -= 1

        async with consuming(consumers):
            await until(lambda: not consumers.problems())
            for _ in range(3):
                again.clear()
                link.cut()
                async with asyncio.timeout(10):
                    await again.wait()

                async def one_is_open() -> bool:
                    return await open_requests() == 1

                await until(one_is_open)
            await stage.send(*range(30))
            await until(lambda: settled(stage))
        await broker.stop()
    assert most == 3

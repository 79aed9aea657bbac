"""Who leaves, or is kept waiting, while the bus is asked: everybody else goes on hearing."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.progress import Progress
from contracts.topology import progress_subject
from darkroom.embedded import NatsServer
from gateway.live import Heard, hearing
from runtime.broker import make_broker
from runtime.settings import BrokerSettings

pytestmark = pytest.mark.connected


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path, durable=False)
    server.start()
    yield server
    server.stop()


@contextlib.contextmanager
def paused(server: NatsServer) -> Iterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["leaves", "is kept waiting"])
async def test_a_pong_for_somebody_who_is_gone_makes_nobody_deaf(
    server: NatsServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py stops reading where a ping was given up and its pong comes: for twenty seconds the process is deaf."""
    monkeypatch.setattr("gateway.live.FLUSH_SECONDS", 0.1)
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    broker = make_broker(BrokerSettings(nats_url=server.nats_url), "gateway", note)
    await broker.start()

    async def stream() -> None:
        async with hearing(broker, uuid4(), asyncio.Queue()):
            await asyncio.sleep(0.2)

    with paused(server):
        gone = asyncio.create_task(stream())
        await asyncio.sleep(0.05)
        if how == "leaves":
            gone.cancel()
        await asyncio.wait([gone])
    generation_id, heard = uuid4(), Heard(8)
    async with hearing(broker, generation_id, heard):
        said = Progress(generation_id=generation_id, number=1, stage="rendering", percent=10)
        await broker.connection.publish(progress_subject(generation_id), said.model_dump_json().encode())
        assert await asyncio.wait_for(heard.get(), 5) == said
    assert not reconnected.is_set()
    await broker.stop()

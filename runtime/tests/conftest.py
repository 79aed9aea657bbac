"""What a consumer has to do with: a stream on a real broker; and strangers on the internet, played on loopback."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from contracts.topology import DEAD
from runtime.broker import make_broker
from runtime.outbound import OutboundSettings, make_session
from runtime.settings import BrokerSettings
from runtime.tests.stage import Stage
from runtime.tests.strangers import CANARY_HOST, PUBLIC_HOST, Canary, Stranger


@pytest.fixture
async def stage(nats_server: Any) -> AsyncIterator[Stage]:
    broker = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "runtime-test")
    await broker.start()
    # As the topology has it: other tests share the server, and the same settings twice are no conflict.
    await broker.connection.request("$JS.API.STREAM.CREATE.DEAD", json.dumps(DEAD.config()).encode())
    made = Stage(broker)
    await made.make()
    yield made
    await broker.connection.jetstream().delete_stream(made.name)
    await broker.stop()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    canary = Canary()
    server = await asyncio.start_server(canary.connected, CANARY_HOST, 0)
    canary.port = server.sockets[0].getsockname()[1]
    yield canary
    server.close()


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    stranger = Stranger()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", stranger.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, PUBLIC_HOST, 0).start()
    stranger.port = runner.addresses[0][1]
    yield stranger
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session(OutboundSettings(outbound_allow=f"{PUBLIC_HOST}/32")) as session:
        yield session


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[list[str]]]]:
    """What name servers say: the addresses of each name, one list per question; the last is said for ever."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *arguments: object, **named: object) -> list[object]:
        if host not in answers:
            return list(real(host, port, *arguments, **named))  # type: ignore[arg-type]
        addresses = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers

"""What is accepted is published beside the answer (docs/adr/0046): nobody waits for the log, and nothing is lost."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient

from darkroom.embedded import NatsServer
from gateway import saying
from gateway.settings import Settings

from .client import Client, token
from .conftest import migrated, playing, serving, settings_of
from .players import Players
from .test_leaving import paused

pytestmark = pytest.mark.connected
AT_ONCE_SECONDS = 0.7
"""Less than the second for which the log is waited for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> NatsServer:
    server = NatsServer(tmp_path_factory.mktemp("nats"), durable=False)
    server.start()
    return server


@pytest.fixture(scope="module")
async def played(server: NatsServer) -> AsyncIterator[tuple[NatsClient, Players]]:
    async with playing(server.nats_url) as both:
        yield both
    server.stop()


@pytest.fixture(scope="module")
async def settings(server: NatsServer, make_database: Callable[[str], str]) -> Settings:
    return settings_of(server.nats_url, await migrated(make_database("gateway")))


async def seconds_to_accept(client: Client) -> float:
    began = time.perf_counter()
    await client.accepted()
    return time.perf_counter() - began


async def test_an_answer_does_not_wait_until_the_log_has_it(
    server: NatsServer, client: Client, players: Players
) -> None:
    await client.accepted()  # from now on it is known that there is plenty
    with paused(server):
        assert await seconds_to_accept(client) < AT_ONCE_SECONDS
    assert len(await players.published(client.user_id, 2)) == 2


async def test_who_comes_while_too_many_are_under_way_waits_for_the_log(
    server: NatsServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.ended((await client.accepted())["id"])  # nothing of it is under way any more
    monkeypatch.setattr(saying, "DRIVEN_BESIDE", 1)
    with paused(server):
        assert await seconds_to_accept(client) < AT_ONCE_SECONDS
        assert await seconds_to_accept(client) > AT_ONCE_SECONDS


async def test_what_a_gateway_accepted_as_it_ended_is_said_all_the_same(
    server: NatsServer,
    settings: Settings,
    bus: NatsClient,
    players: Players,
    http: aiohttp.ClientSession,
    client: Client,
) -> None:
    async def resume_soon() -> None:
        await asyncio.sleep(0.3)
        os.kill(server.process.pid, signal.SIGCONT)

    async with serving(settings, bus) as other:
        there = Client(http, other.url, client.user_id, token(client.user_id))
        await there.accepted()
        os.kill(server.process.pid, signal.SIGSTOP)
        resuming = asyncio.create_task(resume_soon())
        await there.accepted()
    await resuming
    assert len(await players.published(client.user_id, 2, seconds=1)) == 2

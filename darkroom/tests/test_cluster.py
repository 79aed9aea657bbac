"""Three nodes of NATS: one copy of each stream becomes three, and the doctor knows which is wanted."""

import asyncio
from collections.abc import AsyncIterator, Collection

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.topology import CONSUMERS, CREDITS, GENERATION, STREAMS
from darkroom.doctor import Deployment, Finding, broker
from darkroom.embedded import NatsServer, free_ports
from darkroom.jetstream import ask, connect
from darkroom.topology.apply import FOR_ONE_SERVER, Change, apply

pytestmark = pytest.mark.connected

NODES = 3
ELECTED_SECONDS = 30


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Every node by name, as docker-compose.cluster.yml has it."""
    ports = free_ports(NODES)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    nodes = [
        NatsServer(
            tmp_path_factory.mktemp("node"),
            server_name=f"nats-{port}",
            authorization=f'cluster {{\n  name: darkroom\n  listen: "127.0.0.1:{port}"\n  routes: [{routes}]\n}}',
            durable=False,
        )
        for port in ports
    ]
    try:
        # None is healthy before it knows the others.
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes))
        yield ",".join(node.nats_url for node in nodes)
    finally:
        await asyncio.gather(*(asyncio.to_thread(node.kill) for node in nodes))


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    client = await connect(url, "test")
    yield client
    for stream in ("OBJ_claims", *(stream.name for stream in STREAMS)):
        await ask(client, f"STREAM.DELETE.{stream}")
    await client.close()


async def settled(client: Client, replicas: int, stuck: Collection[str] = ()) -> list[Change]:
    """What is still refused once all but these streams and their consumers is as wanted; leaders are elected meanwhile.

    Raises TimeoutError where it does not get there.
    """
    expected = {*stuck, *(consumer.durable for consumer in CONSUMERS if consumer.stream in stuck)}
    async with asyncio.timeout(ELECTED_SECONDS):
        while True:
            try:
                changes = await apply(client, replicas)
            except NatsError:
                continue
            if {change.name for change in changes} == expected:
                return changes
            await asyncio.sleep(0.2)


async def complaints(url: str) -> list[Finding]:
    """Apart from what is no matter here: nobody consumes, and everybody is let in."""
    found = (await broker.look(Deployment(nats_url=url))).findings
    return [finding for finding in found if finding.found != "is asked by nobody" and finding.about != "NATS"]


async def copies(client: Client) -> set[int]:
    infos = [await ask(client, f"STREAM.INFO.{stream.name}") for stream in STREAMS]
    infos += [await ask(client, f"CONSUMER.INFO.{each.stream}.{each.durable}") for each in CONSUMERS]
    return {info["config"]["num_replicas"] for info in infos}


async def test_one_copy_becomes_three(client: Client, url: str) -> None:
    await settled(client, 1)
    assert await copies(client) == {1}
    [few] = await complaints(url)
    assert (few.found, few.do) == ("have 1 copies on 3 servers", "Run `darkroom topology --watch --replicas 3`.")
    await settled(client, 3)
    assert await copies(client) == {3}
    assert await complaints(url) == []


async def test_a_stream_that_can_have_no_copies_is_named_with_what_helps(client: Client, url: str) -> None:
    """As a version before this one made them in a cluster."""
    stuck = {GENERATION.name, CREDITS.name}
    for stream in (GENERATION, CREDITS):
        await ask(client, f"STREAM.CREATE.{stream.name}", stream.config())
    refused = await settled(client, 3, stuck)
    assert {change.name for change in refused if FOR_ONE_SERVER in change.reason} == stuck
    said = {finding.about: finding.do for finding in await complaints(url) if finding.about.startswith("stream ")}
    assert said == {f"stream {name}": FOR_ONE_SERVER for name in stuck}
    for name in stuck:
        await ask(client, f"STREAM.DELETE.{name}")
    await settled(client, 3)
    assert await copies(client) == {3}

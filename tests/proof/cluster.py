"""Three nodes of NATS under load: the leader is killed, a minority is cut off, each is restarted in turn. Nothing that
was acknowledged is lost, and the pause is bounded."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from contracts.topology import OUTCOMES, outcome_subject
from darkroom.embedded import NatsServer
from darkroom.embedded.ports import free_port
from darkroom.topology.apply import apply
from tests.chaos.proxy import Fault, Link

NODES = 3
MOST_PAUSE_SECONDS = 30.0
SETTLED_SECONDS = 60.0
pytestmark = pytest.mark.timeout(400)


@dataclass(slots=True)
class Cluster:
    """The nodes, and for each the links over which the others reach it or it reaches them."""

    nodes: list[NatsServer]
    links: dict[tuple[int, int], Link]

    @property
    def addresses(self) -> list[str]:
        return [node.nats_url for node in self.nodes]

    def cut_off(self, node: int, fault: Fault) -> None:
        for (one, other), link in self.links.items():
            if node in {one, other}:
                link.set(fault)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    listening = [free_port() for _ in range(NODES)]
    links = {
        (one, other): Link(f"{one}-{other}", free_port(), listening[other])
        for one in range(NODES)
        for other in range(NODES)
        if one != other
    }
    for link in links.values():
        await link.start()
    nodes = []
    for number in range(NODES):
        routes = ", ".join(f'"nats://127.0.0.1:{link.port}"' for (one, _), link in links.items() if one == number)
        words = f'cluster {{\n name: proof\n listen: "127.0.0.1:{listening[number]}"\n no_advertise: true\n'
        words += f" routes: [{routes}]\n}}\n"
        nodes.append(NatsServer(tmp_path / str(number), server_name=f"node-{number}", authorization=words))
    await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes))
    yield Cluster(nodes, links)
    for node in nodes:
        node.kill()
    for link in links.values():
        await link.stop()


@dataclass(slots=True)
class Load:
    """Outcomes, one after another, and when each was acknowledged."""

    client: Client
    acknowledged: list[str] = field(default_factory=list)
    longest_pause_seconds: float = 0.0
    _number: int = 0

    async def run(self) -> None:
        last_at = time.monotonic()
        jetstream = self.client.jetstream(timeout=1)
        while True:
            self._number += 1
            subject = outcome_subject(f"load-{self._number}")  # type: ignore[arg-type]
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError):
                await jetstream.publish(subject, b"x", stream=OUTCOMES.name)
                self.acknowledged.append(subject)
                now = time.monotonic()
                self.longest_pause_seconds = max(self.longest_pause_seconds, now - last_at)
                last_at = now
            await asyncio.sleep(0.005)

    async def goes_on(self, more: int = 30) -> None:
        enough = len(self.acknowledged) + more
        async with asyncio.timeout(SETTLED_SECONDS):
            while len(self.acknowledged) < enough:
                await asyncio.sleep(0.05)


async def leader(client: Client) -> int:
    async with asyncio.timeout(SETTLED_SECONDS):
        while True:
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError, AttributeError):
                info = await client.jetstream(timeout=2).stream_info(OUTCOMES.name)
                if info.cluster is not None and info.cluster.leader:
                    return int(info.cluster.leader.removeprefix("node-"))
            await asyncio.sleep(0.2)


async def test_p1_a_leader_that_dies_a_minority_that_is_cut_off_and_a_rolling_restart_lose_nothing(
    cluster: Cluster,
) -> None:
    client = await nats.connect(cluster.addresses, max_reconnect_attempts=-1, reconnect_time_wait=0.2)
    async with asyncio.timeout(SETTLED_SECONDS):
        while [change for change in await _applied(client) if change.done == "refused"]:
            await asyncio.sleep(0.5)
    load = Load(client)
    running = asyncio.create_task(load.run())
    pauses = {}
    try:
        await load.goes_on()
        for name in ("a killed leader", "a minority cut off", "a rolling restart"):
            load.longest_pause_seconds = 0.0
            first = await leader(client)
            if name == "a killed leader":
                cluster.nodes[first].kill()
                await load.goes_on()
                await asyncio.to_thread(cluster.nodes[first].start)
            elif name == "a minority cut off":
                cluster.cut_off(first, Fault.BLACK_HOLE)
                await asyncio.sleep(5)
                await load.goes_on()
                cluster.cut_off(first, Fault.NONE)
            else:
                for node in cluster.nodes:
                    await asyncio.to_thread(node.stop)
                    await load.goes_on()
                    await asyncio.to_thread(node.start)
                    await load.goes_on()
            await load.goes_on()
            pauses[name] = round(load.longest_pause_seconds, 1)
    finally:
        running.cancel()
    info = await client.jetstream(timeout=10).stream_info(OUTCOMES.name, subjects_filter=">")
    lost = set(load.acknowledged) - set(info.state.subjects or {})
    print(f"cluster: {len(load.acknowledged)} acknowledged, {len(lost)} lost, longest pauses in seconds {pauses}")
    await client.close()
    assert lost == set()
    assert max(pauses.values()) < MOST_PAUSE_SECONDS


async def _applied(client: Client):
    try:
        return await apply(client, replicas=NODES)
    except (nats.errors.Error, TimeoutError):
        await asyncio.sleep(0.5)
        return await _applied(client)

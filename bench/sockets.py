"""`python -m bench.sockets`: what a targeted event costs one gateway process that has many Socket.IO clients.

A gateway by itself on a real NATS and a real Postgres; its clients are plain websockets in this process, each a user of
its own. Events are said on the bus to one user after the other, as another replica says them, in two parts of one run:

- at a steady pace, from which the latency is taken. Each of these events is a wakeup of its own, for the bus, for the
  gateway and for its client: what it costs so is told beside it, and no goal is set for it;
- without a pause, ten to each client as fast as the bus takes them, from which the CPU of a delivery is taken, as the
  figure of the library's own was that the goal is made of. How long an event waits in that crowd says nothing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import jwt
import nats
import psutil
from nats.aio.client import Client

from bench.__main__ import RESULTS
from bench.load import percentile
from contracts.topology import live_subject
from darkroom.embedded import NatsServer, PostgresServer
from darkroom.embedded.ports import free_port
from darkroom.migration import migrate, service_urls
from darkroom.topology.apply import apply

SECRET = "a secret of the benchmark's own, long enough"
CONNECTING = 50
"""At one time."""
READY_SECONDS = 60
FOR_EACH = 10
"""Events of the part without a pause, for each client."""
HEARD_SECONDS = 60
GOALS = {"p99 ms": 10, "CPU without a pause, µs per delivery": 130}


@dataclass(frozen=True)
class Gateway:
    """One gateway and its bus."""

    client: Client
    process: psutil.Process
    url: str


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Gateway]:
    bus, database = NatsServer(folder), PostgresServer(folder)
    bus.start()
    database.start()
    admin_url = urlsplit(database.admin_url)._replace(path="/darkroom").geturl()
    urls = service_urls(admin_url, dict.fromkeys(("gateway", "generator", "storage", "ledger"), "bench"))
    await migrate(admin_url, urls)
    port = free_port()
    settings = {
        "NATS_URL": bus.nats_url,
        "GATEWAY_DATABASE_URL": urls["gateway"],
        "GATEWAY_PORT": str(port),
        "SUPABASE_JWT_SECRET": SECRET,
    }
    try:
        async with await nats.connect(bus.nats_url) as client:
            await apply(client)
            gateway = _process(folder, settings)
            try:
                url = f"http://127.0.0.1:{port}"
                await _live(url)
                yield Gateway(client, psutil.Process(gateway.pid), url)
            finally:
                gateway.terminate()
                gateway.wait(30)
    finally:
        database.stop()
        bus.stop()


def _process(folder: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "gateway.log").open("wb") as log:
        environment = {**os.environ, **settings}
        return subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stdout=log, stderr=log)


async def _live(url: str) -> None:
    async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/live") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.2)


class Listeners:
    """The clients, and how long each event took to reach one of them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []
        self._reading: list[asyncio.Task[None]] = []
        self.users: list[UUID] = []
        self.took_seconds: list[float] = []

    async def open(self, session: aiohttp.ClientSession, number: int) -> None:
        room = asyncio.Semaphore(CONNECTING)

        async def one() -> None:
            async with room:
                user = uuid4()
                address = f"{self._gateway.url}/socket.io/?EIO=4&transport=websocket"
                socket = await session.ws_connect(address, autoping=False)
                await socket.receive_str()
                claims = {"aud": "authenticated", "sub": str(user), "exp": int(time.time()) + 3600}
                await socket.send_str(f"40{json.dumps({'token': jwt.encode(claims, SECRET)})}")
                while '"connected"' not in await socket.receive_str():
                    pass
            self.users.append(user)
            self._sockets.append(socket)
            self._reading.append(asyncio.create_task(self._read(socket)))

        await asyncio.gather(*(one() for _ in range(number)))

    async def close(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*(socket.close() for socket in self._sockets), return_exceptions=True)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.data == "2":
                await socket.send_str("3")
            elif '"at"' in message.data:
                at = json.loads(message.data[2:])[1]["at"]
                self.took_seconds.append(time.perf_counter() - at)


async def measure(gateway: Gateway, clients: int, events: int, per_second: int) -> dict[str, float]:
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        listeners = Listeners(gateway)
        await listeners.open(session, clients)
        rows = await _paced(gateway, listeners, events, per_second)
        rows |= await _without_a_pause(gateway, listeners, clients * FOR_EACH)
        rows["memory, MB"] = gateway.process.memory_info().rss / 2**20
        await listeners.close()
    return rows


async def _paced(gateway: Gateway, listeners: Listeners, events: int, per_second: int) -> dict[str, float]:
    listeners.took_seconds.clear()
    before, began = _cpu(gateway.process), time.perf_counter()
    for number in range(events):
        await _say(gateway.client, listeners.users[number % len(listeners.users)])
        await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
    await _heard(listeners, events)
    took = listeners.took_seconds
    return {
        "p50 ms": percentile(took, 0.5),
        "p99 ms": percentile(took, 0.99),
        "CPU paced, µs per delivery": 1e6 * (_cpu(gateway.process) - before) / events,
    }


async def _without_a_pause(gateway: Gateway, listeners: Listeners, events: int) -> dict[str, float]:
    listeners.took_seconds.clear()
    before, began = _cpu(gateway.process), time.perf_counter()
    for number in range(events):
        await _say(gateway.client, listeners.users[number % len(listeners.users)])
    await _heard(listeners, events)
    return {
        "CPU without a pause, µs per delivery": 1e6 * (_cpu(gateway.process) - before) / events,
        "deliveries per second without a pause": events / (time.perf_counter() - began),
    }


async def _heard(listeners: Listeners, events: int) -> None:
    async with asyncio.timeout(HEARD_SECONDS):
        while len(listeners.took_seconds) < events:  # noqa: ASYNC110 - another process says them
            await asyncio.sleep(0.05)


async def _say(client: Client, user: UUID) -> None:
    body: dict[str, Any] = {"at": time.perf_counter(), "status": "completed", "filler": "x" * 100}
    packet = f'2["generation_updated",{json.dumps(body)}]'
    await client.publish(live_subject(user), "\n".join(("bench", "/", f"user:{user}", "", packet)).encode())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def run(clients: int, events: int, per_second: int) -> None:
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        async with started(Path(folder)) as gateway:
            rows = await measure(gateway, clients, events, per_second)
    found = {
        "clients": clients,
        "events": events,
        "per_second": per_second,
        "for_each_without_a_pause": FOR_EACH,
        "rows": rows,
        "goals": GOALS,
    }
    found |= {"python": platform.python_version(), "load": os.getloadavg()}
    path = RESULTS / f"sockets-{time.strftime('%Y-%m-%dT%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    for name, value in rows.items():
        print(f"{name:>38} {value:10.1f}   {GOALS.get(name, '')}")
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--per-second", type=int, default=500)
    given = parser.parse_args()
    asyncio.run(run(given.clients, given.events, given.per_second))


if __name__ == "__main__":
    main()

"""`python -m bench.waiting`: what it costs one process of the generator to wait for thousands of films.

A generator by itself on a real NATS, a real Postgres and the simulator: so many funded facts are said on the bus, and
once every task is submitted the process is watched while nothing happens but waiting. Then the provider's clock is
advanced past the end of all of them, and the time is taken until the last one is rendered.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import asyncpg
import nats
import psutil
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table

from bench import RESULTS
from contracts.facts import Funded, Kind, Request
from contracts.ids import new_generation_id
from contracts.money import Quote
from contracts.topology import funded_subject
from darkroom.embedded import NatsServer, PostgresServer
from darkroom.embedded.ports import free_port
from darkroom.migration import migrate, service_urls
from darkroom.topology.apply import apply

MODEL = "seedance-1-0-lite-t2v"
TASK_SECONDS = 1800
WATCHED_SECONDS = 60
IN_FLIGHT = 64
SUBMITTED_WITHIN_SECONDS = 300
ENDED_WITHIN_SECONDS = 300
GOALS = {"memory, MB": "≤ 400", "CPU, % of a core": "≤ 20", "paid calls per film": "1.000"}


@dataclass(frozen=True)
class Waiting:
    """One generator and what it stands on."""

    client: Client
    connection: asyncpg.Connection
    generator: psutil.Process
    database: psutil.Process
    simulator_url: str

    async def fund(self, number: int) -> None:
        stream = self.client.jetstream(timeout=10, publish_async_max_pending=IN_FLIGHT)
        said = []
        for _ in range(number):
            request = _request()
            fact = Funded.of(request, "ledger", None)
            said.append(await stream.publish_async(funded_subject(request), fact.encode()))
        await asyncio.gather(*said)

    async def until(self, state: str, number: int, seconds: float) -> float:
        """Seconds until so many attempts are in that state."""
        began = time.perf_counter()
        query = "SELECT count(*) FROM generator.attempts WHERE state = $1"
        async with asyncio.timeout(seconds):
            while await self.connection.fetchval(query, state) < number:  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.5)
        return time.perf_counter() - began

    async def watched(self, seconds: float) -> dict[str, float]:
        """What the process takes while it waits for so long."""
        before, began = _cpu(self.generator), time.perf_counter()
        database = _cpu(self.database)
        await asyncio.sleep(seconds)
        seconds = time.perf_counter() - began
        return {
            "memory, MB": self.generator.memory_info().rss / 2**20,
            "CPU, % of a core": 100 * (_cpu(self.generator) - before) / seconds,
            "CPU of Postgres, % of a core": 100 * (_cpu(self.database) - database) / seconds,
            "connections": len(self.generator.net_connections()),
            "threads": self.generator.num_threads(),
        }

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.simulator_url}/__sim/{path}", json=body) as answer,
        ):
            answer.raise_for_status()
            return await answer.json()


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Waiting]:
    bus, database = NatsServer(folder), PostgresServer(folder)
    bus.start()
    database.start()
    admin_url = urlsplit(database.admin_url)._replace(path="/darkroom").geturl()
    urls = service_urls(admin_url, dict.fromkeys(("gateway", "generator", "storage", "ledger"), "bench"))
    await migrate(admin_url, urls)
    port, provider_port = free_port(), free_port()
    simulator_url = f"http://127.0.0.1:{provider_port}"
    provider = _process(folder, "simulator", {}, "--port", str(provider_port))
    settings = {
        "NATS_URL": bus.nats_url,
        "GENERATOR_DATABASE_URL": urls["generator"],
        "GENERATOR_PORT": str(port),
        "ARK_API_KEY": "sk-ark",
        "ARK_BASE_URL": f"{simulator_url}/ark/api/v3",
        "OUTBOUND_ALLOW": f"127.0.0.1:{provider_port}",
    }
    generator = None
    try:
        async with await nats.connect(bus.nats_url) as client:
            await apply(client)
            generator = _process(folder, "generator", settings)
            connection = await asyncpg.connect(admin_url)
            found = (psutil.Process(generator.pid), psutil.Process(database.process.pid))
            waiting = Waiting(client, connection, *found, simulator_url)
            await _ready(port)
            yield waiting
            await connection.close()
    finally:
        for process in filter(None, (generator, provider)):
            process.terminate()
            process.wait(30)
        database.stop()
        bus.stop()


def _process(folder: Path, name: str, settings: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        environment = {**os.environ, **settings}
        return subprocess.Popen([sys.executable, "-m", name, *arguments], env=environment, stdout=log, stderr=log)


async def _ready(port: int) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.2)


def _cpu(process: psutil.Process) -> float:
    used = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            used += times.user + times.system
    return used


def _request() -> Request:
    return Request(
        generation_id=new_generation_id(),
        user_id=uuid4(),
        kind=Kind.VIDEO,
        model=MODEL,
        prompt=f"A quiet harbour at night, {uuid4()}",
        count=1,
        size="1280x720",
        seconds=5,
        quote=Quote(amount=50_000, unit_price=50_000, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(hours=2),
    )


async def run(folder: Path, films: int, watched_seconds: float) -> dict[str, float]:
    async with started(folder) as waiting:
        await waiting.connection.execute("SET search_path TO generator")
        await waiting.connection.execute("UPDATE models SET deadline_seconds = 7200 WHERE id = $1", MODEL)
        await waiting.ask("PUT", "latency", {"mode": "real", "scale": TASK_SECONDS / 145})
        rest = waiting.generator.memory_info().rss / 2**20
        await asyncio.sleep(12)  # the catalog is read again
        await waiting.fund(films)
        submitting = await waiting.until("submitted", films, SUBMITTED_WITHIN_SECONDS + films / 10)
        rows = {"memory before, MB": rest, "submitting all, s": submitting, **await waiting.watched(watched_seconds)}
        await waiting.ask("POST", "clock", {"seconds": 4 * TASK_SECONDS})
        rows["ending all, s"] = await waiting.until("rendered", films, ENDED_WITHIN_SECONDS)
        paid = await waiting.connection.fetchval("SELECT count(*) FROM generator.attempts")
        rows["paid calls per film"] = paid / films
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=5000)
    parser.add_argument("--watched", type=float, default=WATCHED_SECONDS, help="seconds")
    asked = parser.parse_args()
    films = asked.films
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        rows = asyncio.run(run(Path(folder), films, asked.watched))
    table = Table("", "measured", "goal", title=f"One generator waits for {films} films")
    for row, value in rows.items():
        table.add_row(row, f"{value:,.3f}" if value < 10 else f"{value:,.1f}", GOALS.get(row, ""))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    found = {"rows": rows, "films": films, "machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("waiting-%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

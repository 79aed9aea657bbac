"""`python -m bench.ledger`: what the ledger takes for money that moves, against Postgres alone, in one run.

A ledger process by itself, on a real NATS and a real Postgres: requests and outcomes are said on the bus, and the time
is taken until every hold is open and every hold is settled. Beside it, on the same server, `pgbench` runs an equal pair
of transactions.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import nats
import psutil
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table

from bench import RESULTS
from contracts.facts import Asset, Ending, Kind, Outcome, Request, Requested, Verdict
from contracts.ids import new_generation_id
from contracts.money import Quote
from contracts.topology import (
    LEDGER_HOLD_REQUESTED,
    LEDGER_SETTLE_OUTCOMES,
    Consumer,
    outcome_subject,
    requested_subject,
)
from darkroom.embedded import NatsServer, PostgresServer
from darkroom.embedded.ports import free_port
from darkroom.embedded.postgres import program
from darkroom.migration import migrate, service_urls
from darkroom.topology.apply import apply

USERS = 1000
CREDIT = 10_000
IN_FLIGHT = 256
PGBENCH_SECONDS = 10
MANY = 1_000_000
FEW_PAIRS = 2000
"""So that the cost is taken near ten thousand postings, and not on the way beyond."""
SETTLE_SECONDS = 120
_PAIR = """
\\set account random(1, 1000)
\\set hold random(1, 1000000000000)
BEGIN;
INSERT INTO pair_holds (id, account, amount, state) VALUES (:hold, :account, 10, 'open');
INSERT INTO pair_postings (hold, account, purse, amount) VALUES (:hold, :account, 'a', -10), (:hold, :account, 'h', 10);
UPDATE pair_accounts SET available = available - 10, held = held + 10 WHERE id = :account;
END;
BEGIN;
UPDATE pair_holds SET state = 'captured' WHERE id = :hold;
INSERT INTO pair_postings (hold, account, purse, amount) VALUES (:hold, :account, 'h', -10), (:hold, :account, 'r', 10);
UPDATE pair_accounts SET held = held - 10 WHERE id = :account;
END;
"""
_TABLES = """
    CREATE TABLE pair_accounts (id int PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0),
        held bigint NOT NULL CHECK (held >= 0)) WITH (fillfactor = 70);
    INSERT INTO pair_accounts SELECT id, 1000000000, 0 FROM generate_series(1, 1000) AS id;
    CREATE TABLE pair_holds (id bigint PRIMARY KEY, account int NOT NULL, amount bigint NOT NULL, state text NOT NULL);
    CREATE TABLE pair_postings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hold bigint NOT NULL,
        account int NOT NULL, purse text NOT NULL, amount bigint NOT NULL);
"""
# Business of others, so that the tables are long: balanced, without the triggers that would look at each row.
FILL = """
    SET session_replication_role = replica;
    WITH made AS (
        INSERT INTO ledger.transactions (key, type, generation_id)
        SELECT 'filled:' || gen_random_uuid(), 'hold', gen_random_uuid() FROM generate_series(1, {pairs}) RETURNING id
    )
    INSERT INTO ledger.postings (transaction_id, purse, user_id, amount)
    SELECT id, purse, md5((id % 1000)::text)::uuid, amount
    FROM made, (VALUES ('available', -1), ('held', 1)) AS moved (purse, amount);
    SET session_replication_role = DEFAULT;
"""


class Bench:
    """One ledger process and what it stands on."""

    def __init__(self, client: Client, connection: asyncpg.Connection, processes: Sequence[psutil.Process]) -> None:
        self.client = client
        self._jetstream = client.jetstream(timeout=10, publish_async_max_pending=IN_FLIGHT)
        self.connection = connection
        self._processes = processes

    async def quiet(self) -> None:
        """Until every request and every outcome is answered."""
        for consumer in (LEDGER_HOLD_REQUESTED, LEDGER_SETTLE_OUTCOMES):
            await self._settled(consumer.stream, consumer.durable)

    def cpu_seconds(self) -> float:
        """Of the ledger, its broker and its database."""
        used = 0.0
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in (process, *process.children(recursive=True)):
                    times = each.cpu_times()
                    used += times.user + times.system
        return used

    async def hold(self, users: Sequence[UUID], number: int, *, waiting: bool = False) -> tuple[list[UUID], float]:
        """Asks for so many holds; the ids, and the seconds until all of them are open.

        `waiting`: they are on the bus before the ledger looks, so that nothing but the ledger is timed.
        """
        requests = [_request(users[index % len(users)]) for index in range(number)]
        facts = [(requested_subject(each), Requested.of(each, "gateway", None).encode()) for each in requests]
        return [each.generation_id for each in requests], await self._timed(LEDGER_HOLD_REQUESTED, facts, waiting)

    async def settle(self, ids: Sequence[UUID], *, waiting: bool = False) -> float:
        """Says that they were completed; the seconds until all of them are captured."""
        facts = [(outcome_subject(each), _completed(each).encode()) for each in ids]
        return await self._timed(LEDGER_SETTLE_OUTCOMES, facts, waiting)

    async def _timed(self, consumer: Consumer, facts: Sequence[tuple[str, bytes]], waiting: bool) -> float:
        if waiting:
            self._processes[0].suspend()
            await self._say(facts)
            self._processes[0].resume()
        began = time.perf_counter()
        if not waiting:
            await self._say(facts)
        await self._settled(consumer.stream, consumer.durable)
        return time.perf_counter() - began

    async def _say(self, facts: Sequence[tuple[str, bytes]]) -> None:
        acknowledged = [await self._jetstream.publish_async(subject, payload) for subject, payload in facts]
        await asyncio.gather(*acknowledged)

    async def _settled(self, stream: str, durable: str) -> None:
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                info = await self._jetstream.consumer_info(stream, durable)
                if info.num_pending == 0 and info.num_ack_pending == 0:
                    return
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def started(
    folder: Path, *, ledgers: int = 1, starting_credits: int = 1_000_000
) -> AsyncIterator[tuple[Bench, str]]:
    """The bench, and the administrator's address of its database."""
    bus, database = NatsServer(folder), PostgresServer(folder)
    bus.start()
    database.start()
    admin_url = urlsplit(database.admin_url)._replace(path="/darkroom").geturl()
    urls = service_urls(admin_url, dict.fromkeys(("gateway", "generator", "storage", "ledger"), "bench"))
    await migrate(admin_url, urls)
    settings = {"NATS_URL": bus.nats_url, "LEDGER_DATABASE_URL": urls["ledger"]}
    settings |= {"DEFAULT_USER_CREDITS": str(starting_credits), "LEDGER_LOG_LEVEL": "INFO"}
    running = [_ledger(folder / f"ledger-{number}.log", settings) for number in range(ledgers)]
    try:
        async with await nats.connect(bus.nats_url) as client:
            await apply(client)
            connection = await asyncpg.connect(admin_url)
            found = (*(psutil.Process(ledger.pid) for ledger in running), *_servers(bus, database))
            yield Bench(client, connection, found), admin_url
            await connection.close()
    finally:
        for ledger in running:
            ledger.terminate()
        for ledger in running:
            ledger.wait(30)
        database.stop()
        bus.stop()


def _ledger(log_path: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **settings, "LEDGER_PORT": str(free_port())}
    with log_path.open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "ledger"], env=environment, stderr=log)


def _servers(bus: NatsServer, database: PostgresServer) -> list[psutil.Process]:
    return [psutil.Process(server.process.pid) for server in (bus, database)]


def _request(user: UUID) -> Request:
    return Request(
        generation_id=new_generation_id(),
        user_id=user,
        kind=Kind.IMAGE,
        model="dall-e-2",
        prompt="A quiet harbour at night",
        count=1,
        size="512x512",
        quote=Quote(amount=CREDIT, unit_price=CREDIT, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(hours=1),
    )


def _completed(generation_id: UUID) -> Outcome:
    asset = Asset(id=uuid4(), index=0, key="a/original.png", mime_type="image/png", size_bytes=65_536, sha256="0" * 64)
    ending = Ending(generation_id=generation_id, verdict=Verdict.COMPLETED, assets=(asset,), provider="simulator")
    return Outcome.of(ending, "storage", None)


def pgbench(admin_url: str, folder: Path) -> float:
    """Equal pairs of transactions per second, 8 clients, accounts at random."""
    script = folder / "pair.sql"
    script.write_text(_PAIR)
    command = [program("pgbench"), "-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", str(PGBENCH_SECONDS)]
    ran = subprocess.run([*command, "-f", script, admin_url], capture_output=True, text=True, check=True)
    return float(re.findall(r"tps = ([\d.]+)", ran.stdout)[-1])


async def measure(bench: Bench, admin_url: str, folder: Path, pairs: int) -> dict[str, float]:
    users = [uuid4() for _ in range(USERS)]
    ids, _ = await bench.hold(users, USERS)
    await bench.settle(ids)  # accounts are opened, statements planned
    have = await bench.connection.fetchval("SELECT count(*) FROM ledger.postings")
    few = await per_posting(bench, users, min(pairs, FEW_PAIRS))
    await bench.connection.execute(_TABLES)
    through, said, alone = [], [], []
    for _ in range(3):
        ids, holding = await bench.hold(users, pairs, waiting=True)
        through.append(pairs / (holding + await bench.settle(ids, waiting=True)))
        alone.append(await asyncio.to_thread(pgbench, admin_url, folder))
        ids, holding = await bench.hold(users, pairs)
        said.append(pairs / (holding + await bench.settle(ids)))
    hot = []
    for _ in range(3):
        ids, seconds = await bench.hold(users[:1], pairs, waiting=True)
        hot.append(pairs / seconds)
        await bench.settle(ids)
    posted = await bench.connection.fetchval("SELECT count(*) FROM ledger.postings")
    await bench.connection.execute(FILL.format(pairs=max(0, MANY - posted) // 2))
    await bench.connection.execute("ANALYZE ledger.transactions, ledger.postings")
    many = await per_posting(bench, users, min(pairs, FEW_PAIRS))
    return {
        "reserve + capture through the bus, pairs/s": _median(through),
        "pgbench, an equal pair of transactions, pairs/s": _median(alone),
        "ratio": _median([ours / theirs for ours, theirs in zip(through, alone, strict=True)]),
        "the same while others say the requests and outcomes on this machine, pairs/s": _median(said),
        "one hot account, reserves/s": _median(hot),
        f"CPU µs per posting, {have:,} postings": few,
        f"CPU µs per posting, {MANY:,} postings": many,
        "growth": many / few,
    }


async def per_posting(bench: Bench, users: Sequence[UUID], pairs: int) -> float:
    """CPU-µs of ledger, broker and database for each of the four postings of a pair."""
    before = bench.cpu_seconds()
    ids, _ = await bench.hold(users, pairs)
    await bench.settle(ids)
    return 1e6 * (bench.cpu_seconds() - before) / (4 * pairs)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


async def run(folder: Path, pairs: int) -> dict[str, float]:
    async with started(folder) as (bench, admin_url):
        return await measure(bench, admin_url, folder, pairs)


GOALS = {"ratio": "≥ 0.5", "one hot account, reserves/s": "≥ 1500", "growth": "≈ 1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5000)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        rows = asyncio.run(run(Path(folder), pairs))
    table = Table("", "measured", "goal", title=f"The ledger, {pairs} pairs, {USERS} accounts")
    for row, value in rows.items():
        table.add_row(row, f"{value:,.2f}", GOALS.get(row, ""))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    found = {"rows": rows, "pairs": pairs, "machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("ledger-%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

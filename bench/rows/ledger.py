"""Credits that move: reserved and captured through the bus, beside the fastest that Postgres does from Python."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from bench.ground import Ground
from bench.ledger import USERS, Bench, started
from bench.table import OURS, Contestants, Figures, Goal, Round, Row

LIMIT = "asyncpg, batches of 100 with unnest"
RATE, CPU = "transfers/s", "CPU µs per transfer"
BATCH = 100
_TABLES = """
    CREATE TABLE limit_accounts (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))
        WITH (fillfactor = 70);
    INSERT INTO limit_accounts SELECT id, 1000000000 FROM generate_series(0, 999) AS id;
    CREATE TABLE limit_entries (key uuid PRIMARY KEY, account int NOT NULL, amount bigint NOT NULL);
"""
_TRANSFER = """
    WITH written AS (
        INSERT INTO limit_entries SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[])
        ON CONFLICT DO NOTHING RETURNING account, amount
    ), moved AS (SELECT account, sum(amount) AS amount FROM written GROUP BY account)
    UPDATE limit_accounts SET balance = balance + moved.amount FROM moved WHERE id = moved.account
"""


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    folder = ground.folder / "ledger"
    folder.mkdir()
    async with started(folder) as (bench, admin_url):
        users = [uuid4() for _ in range(USERS)]
        ids, _ = await bench.hold(users, USERS)
        await bench.settle(ids)  # accounts are opened, statements planned
        connection = await asyncpg.connect(admin_url)
        await connection.execute(_TABLES)
        pairs = ground.size(10_000, 200)

        async def ours() -> Figures:
            before = bench.cpu_seconds()
            ids, holding = await bench.hold(users, pairs, waiting=True)
            settling = await bench.settle(ids, waiting=True)
            used = bench.cpu_seconds() - before
            return {RATE: 2 * pairs / (holding + settling), CPU: 1e6 * used / (2 * pairs)}

        found: dict[str, Round] = {OURS: ours, LIMIT: lambda: _limit(bench, connection, 2 * pairs)}
        yield found
        await connection.close()


async def _limit(bench: Bench, connection: asyncpg.Connection, transfers: int) -> Figures:
    before, began = bench.cpu_seconds(), time.perf_counter()
    for first in range(0, transfers, BATCH):
        keys = [uuid4() for _ in range(BATCH)]
        accounts = [(7 * (first + number)) % USERS for number in range(BATCH)]
        await connection.execute(_TRANSFER, keys, accounts, [-10] * BATCH)
    seconds = time.perf_counter() - began
    return {RATE: transfers / seconds, CPU: 1e6 * (bench.cpu_seconds() - before) / transfers}


ROW = Row(
    name="ledger",
    title="Credits that move",
    method="""A ledger by itself. Requests, then outcomes lie on the bus, and the time is taken until every hold is
open, and then captured, and each message acknowledged: a hold is two postings, a capture two more, all under the
account's lock and CHECK constraints, with the books summing to zero. The limit, on the same Postgres: one debit and one
entry with a unique key, a hundred in one statement, one connection, and nobody who asks for it over a network. CPU of
the limit is that of Postgres alone.""",
    contestants=contestants,
    goals=(Goal(RATE, at_least=0.3, of=LIMIT),),
    figures=(RATE, CPU),
)

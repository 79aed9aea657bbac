"""What one generation leaves and moves: the constants of the model of growth in docs/operating.md."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import nats
from nats.js import JetStreamContext

from bench.ground import Ground
from bench.load import Client
from bench.processes import session_of
from bench.rows.generations import AT_ONCE, MODEL, OUTSIDE, SIZE
from bench.stack import Stack
from bench.table import OURS, Contestants, Figures, Row
from contracts.topology import STREAMS

SINGLE = "one at a time"
STORED, BYTES, DELIVERED = "messages stored by NATS", "bytes of these", "deliveries"
TRANSACTIONS, LOG, GROWTH = "transactions in Postgres", "its write-ahead log, bytes", "its growth, bytes"
CONNECTIONS, CLIENTS, CPU = "connections to Postgres, in all", "connections to NATS, in all", "CPU ms"
SETTLED_SECONDS = 3
"""Longer than Postgres keeps its counters to itself."""
_DATABASE = """
    SELECT xact_commit + xact_rollback, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
        pg_database_size(current_database()),
        (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
    FROM pg_stat_database WHERE datname = current_database()
"""


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    stack = await ground.darkroom()
    await ground.answering_after(0)
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(session_of())
        database = await asyncpg.connect(stack.known["database_url"])
        opened.push_async_callback(database.close)
        bus = await nats.connect(stack.known["nats_url"])
        opened.push_async_callback(bus.close)
        client = Client(session, stack.url, MODEL, SIZE)
        await client.sustained(ground.size(60, 10), 8)

        def at_once(number: int) -> Callable[[], object]:
            async def measure() -> Figures:
                return await _moved(stack, database, bus.jetstream(), client, ground.size(300, 30), number)

            return measure

        yield {OURS: at_once(AT_ONCE), SINGLE: at_once(1)}


async def _moved(
    stack: Stack,
    database: asyncpg.Connection,
    jetstream: JetStreamContext,
    client: Client,
    generations: int,
    at_once: int,
) -> Figures:
    """What was counted from before until after so many, less what the same time takes that nobody asks for anything."""
    resting_at, resting = time.perf_counter(), await _counted(stack, database, jetstream)
    await asyncio.sleep(2 * SETTLED_SECONDS)
    before_at, before = time.perf_counter(), await _counted(stack, database, jetstream)
    await client.sustained(generations, at_once)
    await asyncio.sleep(SETTLED_SECONDS)
    after_at, after = time.perf_counter(), await _counted(stack, database, jetstream)
    share = (after_at - before_at) / (before_at - resting_at)
    moved = {name: after[name] - before[name] - share * (before[name] - resting[name]) for name in after}
    found = {name: max(0.0, value) / generations for name, value in moved.items()}
    return found | {CONNECTIONS: after[CONNECTIONS], CLIENTS: after[CLIENTS]}


async def _counted(stack: Stack, database: asyncpg.Connection, jetstream: JetStreamContext) -> Figures:
    transactions, log, size, connections = await database.fetchrow(_DATABASE)
    stored = stored_bytes = delivered = 0
    for stream in STREAMS:
        state = (await jetstream.stream_info(stream.name)).state
        stored, stored_bytes = stored + state.last_seq, stored_bytes + state.bytes
        for consumer in await jetstream.consumers_info(stream.name):
            delivered += consumer.delivered.consumer_seq if consumer.delivered else 0
    cpu = stack.cpu_seconds()
    return {
        STORED: stored,
        BYTES: stored_bytes,
        DELIVERED: delivered,
        TRANSACTIONS: transactions,
        LOG: log,
        GROWTH: size,
        CONNECTIONS: connections,
        CLIENTS: sum(len(each.net_connections()) for each in stack.processes()["nats"]) - 1,
        CPU: 1000 * sum(used for part, used in cpu.items() if part not in OUTSIDE),
    }


ROW = Row(
    name="constants",
    title="What one generation moves and leaves",
    method=f"""Counted on both sides, by JetStream (its streams and consumers) and by Postgres (`pg_stat_database`, the
position in its log, its size), before and after so many generations, {AT_ONCE} at once and one at a time; what the
same time takes when nobody asks for anything is subtracted. [Operating](operating.md#a-model-of-growth) reckons
with them.""",
    contestants=contestants,
    figures=(STORED, BYTES, DELIVERED, TRANSACTIONS, LOG, GROWTH, CONNECTIONS, CLIENTS, CPU),
)

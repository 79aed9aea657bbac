"""What the gateway knows of its promises, as figures for Prometheus.

The gauges say what all replicas see, so dashboards take the highest of them; the counters are each process's own. What
is counted in the database is asked for now and then, along an index and over so many rows at most.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import text

from contracts.facts import Kind, Lane, Outcome, Verdict
from contracts.topology import DEAD
from runtime.broker import connected
from runtime.database import Database

EVERY_SECONDS = 15.0
MOST_ROWS = 20_000
ANSWER_SECONDS = 2.0

ACCEPTED = Counter("generations_accepted_total", "Generations accepted.", ["kind", "lane"])
ENDED = Counter("generations_ended_total", "Generations whose outcome was recorded.", ["kind", "verdict"])
for _kind in Kind:
    # There from the start: of a series that begins with its first 1, `increase` sees no increase.
    for _lane in Lane:
        ACCEPTED.labels(_kind, _lane)
    for _verdict in Verdict:
        ENDED.labels(_kind, _verdict)
TOLD = Histogram(
    "notification_lag_seconds",
    "Seconds from an outcome's being said to its client's being told; of each batch the slowest.",
    buckets=(0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
UNFINISHED = Gauge("generations_unfinished", "Generations without an outcome.", ["kind", "lane"])
OLDEST = Gauge("generations_oldest_unfinished_seconds", "Age of the oldest of these.", ["kind", "lane"])
OVERDUE = Gauge("generations_overdue", "Generations without an outcome past their deadline.")
LAG = Gauge("consumer_lag", "Facts that a consumer has not been given yet.", ["consumer"])
CREDIT_PRICE = Gauge("credit_price_micros", "What one credit is sold for, in millionths of a US dollar.")
DEAD_LETTERS = Gauge("dead_letters", "Messages in DEAD: looked at by `darkroom dead`.")

log = structlog.get_logger()

_UNFINISHED = text("""
    SELECT kind, lane, count(*) AS unfinished, extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds,
        count(*) FILTER (WHERE deadline_at < now()) AS overdue
    FROM (
        SELECT kind, lane, created_at, deadline_at FROM generations
        WHERE status IN ('pending', 'processing') ORDER BY next_drive_at LIMIT :most
    ) AS found GROUP BY kind, lane
""")


def end(ended: Sequence[tuple[str, str]]) -> None:
    """Counts (kind, verdict) of outcomes that were just recorded; each is recorded once, whoever does it."""
    for kind, verdict in ended:
        ENDED.labels(kind, verdict).inc()


def tell(outcomes: Sequence[Outcome]) -> None:
    """Notes how late the clients of a batch heard of it."""
    if outcomes:
        oldest = min(outcome.time for outcome in outcomes)
        TOLD.observe(max(0.0, (datetime.now(UTC) - oldest).total_seconds()))


class Figures:
    """Looks every 15 s."""

    def __init__(self, database: Database, broker: NatsBroker, credit_price: Decimal) -> None:
        CREDIT_PRICE.set(int(credit_price * 1_000_000))
        self._database = database
        self._broker = broker
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="figures")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            for look in (self.count_unfinished, self.count_dead):
                try:
                    await look()
                except Exception as error:
                    log.warning("figures.not_seen", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(EVERY_SECONDS)

    async def count_unfinished(self) -> None:
        """Raises sqlalchemy.exc.DBAPIError, OSError: the database is away."""
        async with self._database.statement() as connection:
            rows = (await connection.execute(_UNFINISHED, {"most": MOST_ROWS})).all()
        # What is gone must not stay as it was last seen.
        UNFINISHED.clear()
        OLDEST.clear()
        for row in rows:
            UNFINISHED.labels(row.kind, row.lane).set(row.unfinished)
            OLDEST.labels(row.kind, row.lane).set(row.oldest_seconds)
        OVERDUE.set(sum(row.overdue for row in rows))

    async def count_dead(self) -> None:
        """Leaves the figure as it was where the bus is away or has no such stream yet."""
        if not connected(self._broker):
            return
        try:
            info = await self._broker.connection.jetstream(timeout=ANSWER_SECONDS).stream_info(DEAD.name)
        except (NatsError, TimeoutError):
            return
        DEAD_LETTERS.set(info.state.messages)

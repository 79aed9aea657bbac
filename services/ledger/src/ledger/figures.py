"""What the ledger knows of its promises, as figures for Prometheus.

The gauges say what all replicas see, so dashboards take the highest of them; the counters are each process's own. What
is counted in the database is asked for now and then, along an index and over so many rows at most.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Iterable

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from ledger.domain.holds import Hold
from runtime.database import Database

EVERY_SECONDS = 15.0
MOST_ROWS = 20_000

CLOSED = Counter("holds_closed_total", "Holds that ended.", ["state"])
CAPTURED = Counter("credits_captured_units_total", "Units that were captured: what users paid.")
CORRECTED = Counter(
    "holds_corrected_total", "Corrections, where a client was told otherwise than was applied.", ["type"]
)
OPEN = Gauge("holds_open", "Holds without an outcome.")
OPEN_UNITS = Gauge("holds_open_units", "Units that they set aside.")
OLDEST = Gauge("holds_oldest_open_seconds", "Age of the oldest of them.")
DISPUTED = Gauge("holds_disputed", "Holds that are compared with what their clients were told.")

log = structlog.get_logger()

_OPEN = text("""
    SELECT count(*) AS open, coalesce(sum(amount), 0)::bigint AS units,
        coalesce(extract(epoch FROM now() - min(opened_at)), 0)::float8 AS oldest_seconds
    FROM (SELECT amount, opened_at FROM holds WHERE state = 'open' ORDER BY opened_at LIMIT :most) AS found
""")
_DISPUTED = text("""
    SELECT count(*) AS disputed
    FROM (SELECT 1 FROM holds WHERE disputed_at IS NOT NULL ORDER BY disputed_at LIMIT :most) AS found
""")


def close(closed: Iterable[Hold]) -> None:
    """Counts a batch of holds that have just ended."""
    holds = list(closed)
    for state, ended in Tally(hold.state for hold in holds).items():
        CLOSED.labels(state).inc(ended)
    CAPTURED.inc(sum(hold.captured for hold in holds))


class Figures:
    """Looks every 15 s."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="figures")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self.count()
            except Exception as error:
                log.warning("figures.not_seen", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(EVERY_SECONDS)

    async def count(self) -> None:
        """Raises sqlalchemy.exc.DBAPIError, OSError: the database is away."""
        async with self._database.statement() as connection:
            open_holds = (await connection.execute(_OPEN, {"most": MOST_ROWS})).one()
            disputed = (await connection.execute(_DISPUTED, {"most": MOST_ROWS})).scalar_one()
        OPEN.set(open_holds.open)
        OPEN_UNITS.set(open_holds.units)
        OLDEST.set(open_holds.oldest_seconds)
        DISPUTED.set(disputed)

"""What the generator knows of its promises, as figures for Prometheus.

The gauges say what all replicas see, so dashboards take the highest of them. They are asked for now and then, over the
open work alone and so many rows of it at most.
"""

import asyncio
from collections.abc import Iterable

import structlog
from prometheus_client import Gauge
from sqlalchemy import text

from generator.attempts import State
from generator.providers.interface import Unknown
from generator.submit import ATTEMPTS
from runtime.database import Database

EVERY_SECONDS = 15.0
MOST_ROWS = 20_000

OPEN = Gauge("work_open", "Generations that were funded and are not rendered yet.")
OLDEST = Gauge("work_oldest_open_seconds", "Age of the oldest of them.")
UNKNOWN = Gauge("attempts_unknown_open", "Their attempts of which nobody knows whether they were paid.", ["provider"])
EXPOSURE = Gauge("attempts_unknown_open_units", "What these were quoted, in units.", ["provider"])

log = structlog.get_logger()

_OPEN = text("""
    SELECT count(*) AS open, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
    FROM (SELECT created_at FROM work WHERE state = 'open' LIMIT :most) AS found
""")
_UNKNOWN = text("""
    SELECT provider, count(*) AS attempts,
        sum(attempts.count * CAST(found.request -> 'quote' ->> 'unit_price' AS bigint))::bigint AS units
    FROM (SELECT generation_id, request FROM work WHERE state = 'open' LIMIT :most) AS found
    JOIN attempts ON attempts.generation_id = found.generation_id AND attempts.state = 'unknown'
    GROUP BY provider
""")


class Figures:
    """Looks every 15 s."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    def start(self, providers: Iterable[str]) -> None:
        for name in providers:
            # There from the start: of a series that begins with its first 1, `increase` sees no increase.
            ATTEMPTS.labels(name, State.UNKNOWN, Unknown.code)
        self._task = asyncio.create_task(self._run(), name="figures")

    def stop(self) -> None:
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
            open_work = (await connection.execute(_OPEN, {"most": MOST_ROWS})).one()
            unknown = (await connection.execute(_UNKNOWN, {"most": MOST_ROWS})).all()
        OPEN.set(open_work.open)
        OLDEST.set(open_work.oldest_seconds)
        # What is gone must not stay as it was last seen.
        UNKNOWN.clear()
        EXPOSURE.clear()
        for row in unknown:
            UNKNOWN.labels(row.provider).set(row.attempts)
            EXPOSURE.labels(row.provider).set(row.units)

"""How long a model usually takes, from its own last tasks."""

import time

import structlog
from sqlalchemy import text

from runtime.database import Database

READ_EVERY_SECONDS = 300.0
_TYPICAL = text("""
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds FROM (
        SELECT EXTRACT(EPOCH FROM ended_at - created_at)::float8 AS seconds FROM attempts
        WHERE model = :model AND state = 'rendered' AND task IS NOT NULL ORDER BY ended_at DESC LIMIT 50
    ) AS latest
""")
"""The median of the last 50."""

log = structlog.get_logger()


class History:
    """What this process last read of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, float | None]] = {}

    async def typical_seconds(self, model: str) -> float | None:
        """Seconds of its tasks; None where there have been none, or nobody can be asked."""
        read_at, seconds = self._known.get(model, (float("-inf"), None))
        if time.monotonic() - read_at < READ_EVERY_SECONDS:
            return seconds
        self._known[model] = (time.monotonic(), seconds)
        try:
            async with self._database.statement() as connection:
                seconds = (await connection.execute(_TYPICAL, {"model": model})).scalar_one()
        except Exception as error:
            log.info("history.not_read", error=repr(error))
        self._known[model] = (time.monotonic(), seconds)
        return seconds

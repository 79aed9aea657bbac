"""What capped keys spent, by day: the quote when a generation is accepted, corrected by what it cost at its end.

A process that dies between the two leaves the quote: a cap is reached too early, never too late.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from contracts.money import in_credits
from gateway.api_keys.ring import Key
from gateway.refusals import SpendCapReached
from runtime.database import Connection, Database

MOST_UNITS = 2**62
"""What no cap is."""

# The day's row is locked by whoever adds to it; the days before it only ever shrink.
_ADD = text("""
    WITH today AS (SELECT (now() AT TIME ZONE 'UTC')::date AS day), before AS (
        SELECT coalesce(sum(units), 0)::bigint AS units FROM api_key_spending, today
        WHERE api_key_id = :id AND api_key_spending.day >= date_trunc('month', today.day)
            AND api_key_spending.day < today.day
    ), asked AS (SELECT CAST(:units AS bigint) AS units)
    INSERT INTO api_key_spending AS s (api_key_id, day, units)
    SELECT :id, today.day, asked.units FROM today, before, asked
    WHERE asked.units <= :per_day AND before.units + asked.units <= :per_month
    ON CONFLICT (api_key_id, day) DO UPDATE SET units = s.units + excluded.units
    WHERE s.units + excluded.units <= :per_day AND s.units + excluded.units + (SELECT units FROM before) <= :per_month
    RETURNING day
""")
_GIVE_BACK = text("""
    UPDATE api_key_spending s SET units = greatest(0, s.units - back.units)
    FROM (SELECT id, day, sum(units)::bigint AS units
          FROM unnest(CAST(:ids AS uuid[]), CAST(:days AS date[]), CAST(:units AS bigint[])) AS t (id, day, units)
          GROUP BY id, day ORDER BY id, day) back
    WHERE s.api_key_id = back.id AND s.day = back.day
""")


@dataclass(slots=True)
class Spent:
    """Whether anything was accepted; the block says so."""

    anything: bool = True


@asynccontextmanager
async def reserved(database: Database, key: Key | None, units: int) -> AsyncIterator[Spent]:
    """Counts `units` for what is accepted in the block; where it raises, or says so, nothing was.

    Raises:
        SpendCapReached: it would go over the key's day or month.
    """
    if key is None or not key.is_capped or units == 0:
        yield Spent()
        return
    async with database.statement() as connection:
        values = {
            "id": key.id,
            "units": units,
            "per_day": MOST_UNITS if key.units_per_day is None else key.units_per_day,
            "per_month": MOST_UNITS if key.units_per_month is None else key.units_per_month,
        }
        day = (await connection.execute(_ADD, values)).scalar_one_or_none()
    if day is None:
        raise _refusal(key, units)
    spent = Spent()
    try:
        yield spent
    except Exception:
        spent.anything = False
        raise
    finally:
        if not spent.anything:
            async with database.statement() as connection:
                await connection.execute(_GIVE_BACK, {"ids": [key.id], "days": [day], "units": [units]})


async def give_back(connection: Connection, unspent: Iterable[tuple[UUID, datetime, int]]) -> None:
    """Takes off what ended generations did not cost: (key, when accepted, units)."""
    listed = [(key_id, when.astimezone(UTC).date(), units) for key_id, when, units in unspent if units > 0]
    if listed:
        ids, days, units = (list(column) for column in zip(*listed, strict=True))
        await connection.execute(_GIVE_BACK, {"ids": ids, "days": days, "units": units})


def _refusal(key: Key, units: int) -> SpendCapReached:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    caps = [(key.units_per_day, "day"), (key.units_per_month, "month")]
    said = " and ".join(f"{in_credits(cap)} credits a {period}" for cap, period in caps if cap is not None)
    refusal = SpendCapReached(
        f"This costs {in_credits(units)} credits, and this API key may spend {said}.",
        int((midnight - now).total_seconds()) + 1,
    )
    refusal.details = {"required": in_credits(units)}
    return refusal

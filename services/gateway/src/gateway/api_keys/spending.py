"""What capped keys spent, by day: the quote when a generation is accepted, corrected by what it cost at its end; and
what is consumed without one. A generation that is paid by what was consumed is counted beside it.

A process that dies between the two leaves the quote: a cap is reached too early, never too late.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from contracts.money import in_credits
from gateway.api_keys.ring import Key
from gateway.refusals import NotHeard, SpendCapReached, Unauthenticated
from runtime.database import Connection, Database
from runtime.health import is_transient

log = structlog.get_logger()
MOST_UNITS = 2**62
"""What no cap is."""
TWIN_SECONDS = 0.2
"""How long the same request, which has taken what this one lacks, may take to be recorded."""

# The day's row is locked by whoever adds to it; the days before it only ever shrink.
_ADD = text("""
    WITH holder AS (SELECT id FROM api_keys WHERE id = :id FOR KEY SHARE),
    today AS (SELECT (now() AT TIME ZONE 'UTC')::date AS day), before AS (
        SELECT coalesce(sum(units), 0)::bigint AS units FROM api_key_spending, today
        WHERE api_key_id = :id AND api_key_spending.day >= date_trunc('month', today.day)
            AND api_key_spending.day < today.day
    ), asked AS (SELECT CAST(:units AS bigint) AS units)
    INSERT INTO api_key_spending AS s (api_key_id, day, units)
    SELECT holder.id, today.day, asked.units FROM holder, today, before, asked
    WHERE asked.units <= :per_day AND before.units + asked.units <= :per_month
    ON CONFLICT (api_key_id, day) DO UPDATE SET units = s.units + excluded.units
    WHERE s.units + excluded.units <= :per_day AND s.units + excluded.units + (SELECT units FROM before) <= :per_month
    RETURNING now() AS counted_at
""")
_IS_THERE = text("SELECT id FROM api_keys WHERE id = :id")
_GIVE_BACK = text("""
    UPDATE api_key_spending s SET units = greatest(0, s.units - back.units)
    FROM (SELECT id, day, sum(units)::bigint AS units
          FROM unnest(CAST(:ids AS uuid[]), CAST(:days AS date[]), CAST(:units AS bigint[])) AS t (id, day, units)
          GROUP BY id, day ORDER BY id, day) back
    WHERE s.api_key_id = back.id AND s.day = back.day
""")


_IS_COUNTED = text("SELECT id FROM api_key_consumptions WHERE api_key_id = :api_key_id AND id = :id")
_NOTE = text("""
    INSERT INTO api_key_consumptions (api_key_id, id)
    SELECT id, :id FROM api_keys WHERE id = :api_key_id FOR KEY SHARE
    ON CONFLICT DO NOTHING RETURNING id
""")


@dataclass(slots=True)
class Spent:
    """Whether anything was accepted; the block may say that nothing was."""

    counted_at: datetime | None = None
    """Of that moment is what is accepted: on its day it is counted, and given back. None where nothing is counted."""
    anything: bool = True


@asynccontextmanager
async def reserved(database: Database, key: Key | None, units: int) -> AsyncIterator[Spent]:
    """Counts `units` for what is accepted in the block; where it raises, or says so, nothing was. Where it was not
    heard whether anything was, it stays counted.

    Raises:
        SpendCapReached: it would go over the key's day or month. Unauthenticated: the key was revoked meanwhile.
    """
    if key is None or not key.is_capped or units == 0:
        yield Spent()
        return
    spent = Spent(await _counted(database, key, units))
    try:
        yield spent
    except NotHeard:
        raise
    except Exception:
        spent.anything = False
        raise
    finally:
        if not spent.anything and spent.counted_at is not None:
            try:
                async with database.statement() as connection:
                    await give_back(connection, [(key.id, spent.counted_at, units)])
            except Exception as error:
                # It stays counted; what was answered is said all the same.
                if not is_transient(error):
                    raise
                log.warning("spending.not_given_back", api_key_id=str(key.id), units=units, error=repr(error)[:200])


@asynccontextmanager
async def consumed(database: Database, key: Key | None, units: int, counted_id: UUID | None) -> AsyncIterator[None]:
    """The same for what is consumed in the block; under an id that an Idempotency-Key and the units name it is counted
    once: of what was not heard another amount may be taken later.

    Each request counts for itself until it is known what came of it: none leaves uncounted what another was refused.
    """
    if key is None or not key.is_capped or counted_id is None:
        async with reserved(database, key, units):
            yield
        return
    if await _is_counted(database, key, counted_id):
        yield
        return
    async with AsyncExitStack() as stack:
        try:
            spent = await stack.enter_async_context(reserved(database, key, units))
        except SpendCapReached:
            # By the same request, it may be, which is known in a moment.
            await asyncio.sleep(TWIN_SECONDS)
            if not await _is_counted(database, key, counted_id):
                raise
            yield
            return
        try:
            yield
        except NotHeard:
            spent.anything = await _is_first(database, key, counted_id)
            raise
        spent.anything = await _is_first(database, key, counted_id)


async def _counted(database: Database, key: Key, units: int) -> datetime:
    async with database.statement() as connection:
        values = {
            "id": key.id,
            "units": units,
            "per_day": MOST_UNITS if key.units_per_day is None else key.units_per_day,
            "per_month": MOST_UNITS if key.units_per_month is None else key.units_per_month,
        }
        counted_at: datetime | None = (await connection.execute(_ADD, values)).scalar_one_or_none()
        if counted_at is None and (await connection.execute(_IS_THERE, {"id": key.id})).first() is None:
            raise Unauthenticated("The API key is not valid.")
    if counted_at is None:
        raise _refusal(key, units)
    return counted_at


async def _is_counted(database: Database, key: Key, counted_id: UUID) -> bool:
    async with database.statement() as connection:
        found = await connection.execute(_IS_COUNTED, {"api_key_id": key.id, "id": counted_id})
        return found.first() is not None


async def _is_first(database: Database, key: Key, counted_id: UUID) -> bool:
    """Notes under which id it was counted; whether none was before. Where that cannot be noted it stays counted."""
    try:
        async with database.statement() as connection:
            noted = await connection.execute(_NOTE, {"api_key_id": key.id, "id": counted_id})
            return noted.first() is not None
    except Exception as error:
        if not is_transient(error):
            raise
        return True


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

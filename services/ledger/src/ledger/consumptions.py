"""What users paid without a generation: for a while it pays for their next one, after that it is ours.

The rows of a user change under the lock of the user's account alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from contracts.questions import (
    ConsumeCredits,
)
from ledger import accounts
from ledger.accounts import Posted
from ledger.domain.transactions import spend
from runtime.database import Connection

FRESH_SECONDS = 900
"""How long what was consumed may still pay for a generation."""
MAX_SPENT_AT_ONCE = 500

FRESH = f"spent_at IS NULL AND taken < amount AND consumed_at > now() - make_interval(secs => {FRESH_SECONDS})"
_RECORD = text("""
    INSERT INTO consumptions (id, user_id, amount, reason) VALUES (:id, :user_id, :amount, :reason)
""")
_RECORDED = text("SELECT user_id, amount FROM consumptions WHERE id = :id")
_FRESH = text(f"""
    SELECT id, user_id, amount - taken AS left FROM consumptions
    WHERE user_id = ANY(CAST(:users AS uuid[])) AND {FRESH} ORDER BY consumed_at, id
""")  # noqa: S608 - put together from constants
_TAKE = text("""
    UPDATE consumptions SET taken = taken + took.amount
    FROM unnest(CAST(:ids AS uuid[]), CAST(:amounts AS bigint[])) AS took (id, amount) WHERE consumptions.id = took.id
""")
_OLD = text(f"""
    SELECT id, user_id FROM consumptions
    WHERE spent_at IS NULL AND consumed_at <= now() - make_interval(secs => {FRESH_SECONDS})
    ORDER BY consumed_at, id LIMIT {MAX_SPENT_AT_ONCE}
""")  # noqa: S608 - put together from constants
_SPEND = text("""
    UPDATE consumptions SET spent_at = now() WHERE id = ANY(CAST(:ids AS uuid[])) AND spent_at IS NULL
    RETURNING id, user_id, amount - taken AS left
""")


@dataclass(frozen=True, slots=True)
class Fresh:
    """So many units of a consumption may still pay for a generation."""

    id: UUID
    user_id: UUID
    left: int


async def recorded(connection: Connection, consumption_id: UUID) -> tuple[UUID, int] | None:
    """Whose it is, and its amount."""
    row = (await connection.execute(_RECORDED, {"id": consumption_id})).one_or_none()
    return (row.user_id, row.amount) if row else None


async def record(connection: Connection, asked: ConsumeCredits) -> None:
    """Raises sqlalchemy.exc.IntegrityError where the id is used."""
    values = {"id": asked.consumption_id, "user_id": asked.user_id, "amount": asked.amount, "reason": asked.reason}
    await connection.execute(_RECORD, values)


async def fresh(connection: Connection, users: Collection[UUID]) -> list[Fresh]:
    """The oldest first."""
    found = await connection.execute(_FRESH, {"users": list(users)})
    return [Fresh(row.id, row.user_id, row.left) for row in found]


async def take(connection: Connection, found: Sequence[Fresh], amounts: Mapping[UUID, int]) -> None:
    """Takes so many units of each of these users, of the oldest first. They must be there."""
    wanted = dict(amounts)
    took: dict[UUID, int] = {}
    for consumption in found:
        units = min(consumption.left, wanted.get(consumption.user_id, 0))
        if units:
            took[consumption.id] = units
            wanted[consumption.user_id] -= units
    await connection.execute(_TAKE, {"ids": list(took), "amounts": list(took.values())})


async def spend_old(connection: Connection) -> tuple[int, Posted]:
    """Makes revenue of what nobody can use any longer; of how many consumptions, and the balances."""
    old = (await connection.execute(_OLD)).all()
    if not old:
        return 0, Posted()
    await accounts.lock(connection, {row.user_id for row in old})
    spent = await connection.execute(_SPEND, {"ids": [row.id for row in old]})
    made = [spend(row.id, row.user_id, row.left) for row in spent if row.left]
    return len(old), await accounts.post(connection, made)

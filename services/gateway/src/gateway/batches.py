"""Generations that were asked for together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from contracts.ids import keyed_generation_id, new_generation_id
from gateway.identity import Caller
from gateway.orders import Order, checked_key
from gateway.records import COLUMNS, Duplicate, Generation, QueueFull, generation_of, insert
from runtime.database import Connection, Database
from runtime.health import is_transient

MAX_ITEMS = 100
_NO_ITEM = -1

_GET = text(f"""
    SELECT {COLUMNS}, deleted_at IS NOT NULL AS is_deleted FROM generations
    WHERE user_id = :user_id AND batch_id = :batch_id ORDER BY batch_item
""")


@dataclass(frozen=True, slots=True)
class Batch:
    """In the order in which they were asked for, without those that were deleted."""

    id: UUID
    generations: tuple[Generation, ...]
    body_hashes: tuple[bytes, ...]
    """Of all that were asked for, those that were deleted as well."""

    def is_of(self, orders: Sequence[Order]) -> bool:
        """Whether these orders made it: as many, and in this order."""
        return self.body_hashes == tuple(order.body_hash() for order in orders)


def id_of(caller: Caller, order: Order) -> UUID:
    """The id of the batch that begins with this order. Raises InvalidKey."""
    key = order.idempotency_key
    if key is None:
        return new_generation_id()
    return keyed_generation_id(caller.user_id, order.route, checked_key(key), _NO_ITEM)


async def get(connection: Connection, user_id: UUID, batch_id: UUID) -> Batch | None:
    """A user's batch; None for somebody else's, too."""
    rows = (await connection.execute(_GET, {"user_id": user_id, "batch_id": batch_id})).all()
    there = tuple(generation_of(row) for row in rows if not row.is_deleted)
    return Batch(batch_id, there, tuple(row.body_hash for row in rows)) if there else None


async def record(
    database: Database, caller: Caller, batch_id: UUID, orders: Sequence[Order], rows: Sequence[dict[str, Any]]
) -> Batch:
    """Records all of it or nothing: for each order the values of its row. Raises what `records.insert` does."""
    try:
        made = await _inserted(database, rows)
    except DBAPIError as error:
        if not is_transient(error):
            raise
        # The connection was lost, and whether the rows are there is unknown: the same ids are recorded once. Where they
        # are, they may be what fills the queue.
        try:
            made = await _inserted(database, rows)
        except (Duplicate, QueueFull):
            async with database.statement() as connection:
                existing = await get(connection, caller.user_id, batch_id)
            if existing is None or not existing.is_of(orders):
                raise
            return existing
    return Batch(batch_id, tuple(made), tuple(each.body_hash for each in made))


async def _inserted(database: Database, rows: Sequence[dict[str, Any]]) -> list[Generation]:
    async with database.transaction() as connection:
        return [await insert(connection, row) for row in rows]

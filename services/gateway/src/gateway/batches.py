"""Generations that were asked for together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from contracts.ids import keyed_generation_id, new_generation_id
from gateway import records
from gateway.accepting import ACCEPTED, DELETED, Said
from gateway.identity import Caller
from gateway.orders import Order, checked_key
from gateway.records import COLUMNS, Generation, generation_of
from gateway.refusals import Gone, IdempotencyMismatch
from runtime.database import Connection, Database

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
    """A user's batch; None for somebody else's and for one that was deleted whole, too."""
    batch = await _known(connection, user_id, batch_id)
    return batch if batch is not None and batch.generations else None


def place(batch_id: UUID) -> str:
    return f"/v1/batches/{batch_id}"


async def existing(database: Database, caller: Caller, batch_id: UUID, orders: Sequence[Order]) -> Batch | None:
    """What the same request has made before. Raises IdempotencyMismatch: another one has. Gone: all was deleted."""
    async with database.statement() as connection:
        batch = await _known(connection, caller.user_id, batch_id)
    if batch is None:
        return None
    if not batch.generations:
        raise Gone(DELETED)
    if not batch.is_of(orders):
        raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
    ACCEPTED.set(place(batch_id))
    return batch


async def insert(database: Database, batch_id: UUID, rows: Sequence[dict[str, Any]], said: Said) -> Batch:
    """One attempt to record all of it, of each order the values of its row. Raises what `records.insert` does."""
    async with database.transaction() as connection:
        # Lane after lane: of two batches that want a user's slots in both, each would hold what the other wants next.
        by_lane = sorted(rows, key=lambda row: row["lane"])
        made_of = {row["batch_item"]: await records.insert(connection, row) for row in by_lane}
        said.all = True
    made = tuple(made_of[row["batch_item"]] for row in rows)
    return Batch(batch_id, made, tuple(each.body_hash for each in made))


async def _known(connection: Connection, user_id: UUID, batch_id: UUID) -> Batch | None:
    rows = (await connection.execute(_GET, {"user_id": user_id, "batch_id": batch_id})).all()
    there = tuple(generation_of(row) for row in rows if not row.is_deleted)
    return Batch(batch_id, there, tuple(row.body_hash for row in rows)) if rows else None

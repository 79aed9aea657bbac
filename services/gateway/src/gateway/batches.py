"""Generations that were asked for together."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from contracts.ids import keyed_generation_id, new_generation_id
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import COLUMNS, Generation, generation_of
from runtime.database import Connection

MAX_ITEMS = 100
_NO_ITEM = -1

_GET = text(f"""
    SELECT {COLUMNS} FROM generations WHERE user_id = :user_id AND batch_id = :batch_id AND deleted_at IS NULL
    ORDER BY batch_item
""")


@dataclass(frozen=True, slots=True)
class Batch:
    """In the order in which they were asked for, without those that were deleted."""

    id: UUID
    generations: tuple[Generation, ...]

    def is_of(self, orders: Sequence[Order]) -> bool:
        """Whether these orders made it."""
        asked = {order.body_hash() for order in orders}
        return all(generation.body_hash in asked for generation in self.generations)


def id_of(caller: Caller, order: Order) -> UUID:
    """The id of the batch that begins with this order. Raises InvalidKey."""
    key = order.key()
    return new_generation_id() if key is None else keyed_generation_id(caller.user_id, order.route, key, _NO_ITEM)


async def get(connection: Connection, user_id: UUID, batch_id: UUID) -> Batch | None:
    """A user's batch; None for somebody else's, too."""
    rows = (await connection.execute(_GET, {"user_id": user_id, "batch_id": batch_id})).all()
    return Batch(batch_id, tuple(map(generation_of, rows))) if rows else None

"""What is accepted: recorded once, although the connection may be lost, and never denied to whoever asked for it."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from gateway import records
from gateway.identity import Caller
from gateway.orders import Beside, Order
from gateway.records import Duplicate, Generation, QueueFull
from gateway.refusals import Gone, IdempotencyMismatch, NotHeard
from runtime.database import Database
from runtime.health import is_transient

ACCEPTED: ContextVar[str | None] = ContextVar("accepted", default=None)
"""Where whoever sent this request finds what was accepted of it, as soon as something was."""
DELETED = "What this Idempotency-Key made was deleted."
Accepted = TypeVar("Accepted")


@dataclass(slots=True)
class Said:
    """Whether the database was told all that it needs to commit; whoever inserts says so just before."""

    all: bool = False


class _Unheard(Exception):
    """It may be committed, or not."""


def place(generation_id: UUID) -> str:
    return f"/v1/generations/{generation_id}"


async def existing(database: Database, caller: Caller, generation_id: UUID, order: Order) -> Generation | None:
    """What the same request has made before. Raises IdempotencyMismatch: another one has. Gone: it was deleted."""
    async with database.statement() as connection:
        known = await records.known(connection, caller.user_id, generation_id)
    if known is None:
        return None
    generation, is_deleted = known
    if is_deleted:
        raise Gone(DELETED)
    if generation.body_hash != order.body_hash():
        raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
    ACCEPTED.set(place(generation_id))
    return generation


async def insert(database: Database, values: dict[str, Any], beside: Beside | None, said: Said) -> Generation:
    """One attempt to record a generation, and what its dialect has beside it. Raises what `records.insert` does."""
    if beside is None:
        async with database.statement() as connection:
            said.all = True
            return await records.insert(connection, values)
    async with database.transaction() as connection:
        generation = await records.insert(connection, values)
        await beside(connection, generation.id)
        said.all = True
    return generation


async def once(
    attempt: Callable[[Said], Awaitable[Accepted]], look: Callable[[], Awaitable[Accepted | None]], where: str
) -> Accepted:
    """Records under ids of its own; again, where the connection was lost. `look` finds it, and `where` is its address
    for whoever asks.

    Raises:
        Duplicate, QueueFull, and whatever else says that nothing was recorded.
        NotHeard: whether it was recorded nobody could say.
    """
    try:
        return await _tried(attempt, where)
    except _Unheard:
        is_unheard = True
    except DBAPIError as error:
        if not is_transient(error):
            raise
        is_unheard = False
    try:
        return await _tried(attempt, where)
    except (Duplicate, QueueFull):
        # The first may be there, and may be what fills the queue.
        existing = await _looked(look, where) if is_unheard else None
        if existing is None:
            raise
        return existing
    except Exception as error:
        if isinstance(error, _Unheard) or (is_unheard and is_transient(error)):
            raise _not_heard(where) from error
        raise


async def _tried(attempt: Callable[[Said], Awaitable[Accepted]], where: str) -> Accepted:
    said = Said()
    try:
        accepted = await attempt(said)
    except Exception as error:
        if said.all and is_transient(error) and not _is_answer(error):
            raise _Unheard from error
        raise
    ACCEPTED.set(where)
    return accepted


async def _looked(look: Callable[[], Awaitable[Accepted | None]], where: str) -> Accepted | None:
    try:
        return await look()
    except Exception as error:
        if is_transient(error):
            raise _not_heard(where) from error
        raise


def _is_answer(error: Exception) -> bool:
    """Whether the database itself says that nothing came of it: not of a connection that ended, nor as it shuts
    down."""
    code = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return bool(code) and not code.startswith(("08", "57P"))


def _not_heard(where: str) -> NotHeard:
    return NotHeard(
        "Whether this was recorded could not be heard. The same request under the same Idempotency-Key finds it; "
        f"without a key, GET {where} says whether it is there.",
        headers={"Location": where},
    )

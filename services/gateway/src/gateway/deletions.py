"""Deleted generations: their media goes out of sight in storage, however long that is away.

The row is the promise: it is deleted at once, and storage is asked until it has answered. Asking twice is harmless.
"""

import asyncio

import structlog
from faststream.nats import NatsBroker
from sqlalchemy import text

from contracts.keeping import ChangedAssets, Delete
from contracts.questions import STORAGE_DELETE
from gateway.questions import ask
from gateway.refusals import Unavailable
from runtime.database import Database, Row

ROWS = 50
ANSWER_TIMEOUT_SECONDS = 5.0

log = structlog.get_logger()

_DUE = text("""
    SELECT id, user_id FROM generations WHERE deleted_at IS NOT NULL AND media_deleted_at IS NULL
    ORDER BY deleted_at LIMIT :rows
""")
_DONE = text("UPDATE generations SET media_deleted_at = now() WHERE id = ANY(:ids)")


async def carry_out(database: Database, broker: NatsBroker) -> int:
    """Tells storage of some; how many it has answered for. What it does not answer for holds up none of the others,
    and is asked for again in the next round."""
    async with database.statement() as connection:
        due = (await connection.execute(_DUE, {"rows": ROWS})).all()
    answered = await asyncio.gather(*(_is_done(broker, row) for row in due))
    if done := [row.id for row, is_done in zip(due, answered, strict=True) if is_done]:
        async with database.statement() as connection:
            await connection.execute(_DONE, {"ids": done})
    return len(done)


async def _is_done(broker: NatsBroker, row: Row) -> bool:
    question = Delete(user_id=row.user_id, generation_id=row.id)
    try:
        await ask(broker, STORAGE_DELETE, question, ChangedAssets, ANSWER_TIMEOUT_SECONDS, "not deleted")
    except Unavailable as unavailable:
        log.info("media.not_deleted", generation_id=str(row.id), error=type(unavailable.__cause__).__name__)
        return False
    return True

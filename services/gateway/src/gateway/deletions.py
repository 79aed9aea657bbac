"""Deleted generations: their media goes out of sight in storage, however long that is away.

The row is the promise: it is deleted at once, and storage is asked until it has answered. Asking twice is harmless.
"""

import structlog
from faststream.nats import NatsBroker
from sqlalchemy import text

from contracts.keeping import ChangedAssets, Delete
from contracts.questions import STORAGE_DELETE
from gateway.questions import ask
from gateway.refusals import Unavailable
from runtime.database import Database

ROWS = 50
ANSWER_TIMEOUT_SECONDS = 5.0

log = structlog.get_logger()

_DUE = text("""
    SELECT id, user_id FROM generations WHERE deleted_at IS NOT NULL AND media_deleted_at IS NULL
    ORDER BY deleted_at LIMIT :rows
""")
_DONE = text("UPDATE generations SET media_deleted_at = now() WHERE id = :id")


async def carry_out(database: Database, broker: NatsBroker) -> int:
    """Tells storage of some; how many it has answered for. Where it does not answer, the next round goes on."""
    async with database.statement() as connection:
        due = (await connection.execute(_DUE, {"rows": ROWS})).all()
    for number, row in enumerate(due):
        question = Delete(user_id=row.user_id, generation_id=row.id)
        try:
            await ask(broker, STORAGE_DELETE, question, ChangedAssets, ANSWER_TIMEOUT_SECONDS, "not deleted")
        except Unavailable as unavailable:
            log.info("media.not_deleted", generation_id=str(row.id), error=type(unavailable.__cause__).__name__)
            return number
        async with database.statement() as connection:
            await connection.execute(_DONE, {"id": row.id})
    return len(due)

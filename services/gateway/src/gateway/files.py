"""Stored files by their names: a frontend that keeps only a file's name asks by it."""

from uuid import UUID

from sqlalchemy import text

from contracts.facts import Asset
from gateway import records
from gateway.records import Generation
from runtime.database import Connection

MAX_NAME_CHARACTERS = 255

# Among one user's generations, newest first: no index is kept for a question that is asked once for a deletion.
_NAMED = text(f"""
    SELECT {records.COLUMNS} FROM generations
    WHERE user_id = :user_id AND dialect = :dialect AND status = 'completed'
        AND (deleted_at IS NULL OR CAST(:also_deleted AS boolean))
        AND EXISTS (
            SELECT FROM jsonb_array_elements(outcome -> 'data' -> 'assets') AS asset
            WHERE asset ->> 'id' = CAST(:name AS text) OR split_part(asset ->> 'key', '/', 1) = CAST(:name AS text)
        )
    ORDER BY created_at DESC, id DESC LIMIT 1
""")  # noqa: S608 - put together from constants


async def named(
    connection: Connection, user_id: UUID, dialect: str, file_name: str, *, also_deleted: bool = False
) -> tuple[Generation, Asset] | None:
    """A user's generation and asset by a file's name: its id or the token in its address, with or without what follows.

    So `<token>/original.png`, `<token>.png`, `<id>.png` and `<id>` are all the same file.
    """
    name = file_name.partition("/")[0].partition(".")[0]
    if not name or len(file_name) > MAX_NAME_CHARACTERS or "\x00" in name:
        return None
    values = {"user_id": user_id, "dialect": dialect, "name": name, "also_deleted": also_deleted}
    row = (await connection.execute(_NAMED, values)).first()
    if row is None:
        return None
    generation = records.generation_of(row)
    assets = generation.outcome.data.assets if generation.outcome else ()
    return next(((generation, asset) for asset in assets if name in {str(asset.id), asset.key.partition("/")[0]}), None)

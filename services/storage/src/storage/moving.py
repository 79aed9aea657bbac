"""Copying all objects to another store, while both are in use: `darkroom media move`.

An object's name has its hash, so a copy is proven by reading it back. Whatever is there already is passed over: begun
again after a stop, it goes on.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import IO
from uuid import UUID

import structlog
from sqlalchemy import text

from runtime.database import Database
from storage.objects import Absent, Objects

AT_ONCE = 8
IN_MEMORY_BYTES = 1 << 20
NAMED_AT_MOST = 20

log = structlog.get_logger()

_NOTE = text("""
    UPDATE assets SET backend = :backend
    FROM unnest(CAST(:names AS text[])) AS object (name)
    WHERE assets.sha256 = right(object.name, 64) AND assets.owner_id = CAST(left(object.name, 36) AS uuid)
        AND assets.backend IS DISTINCT FROM CAST(:backend AS text)
""")
_LEFT = text("""
    SELECT id, count(*) OVER () AS together FROM assets
    WHERE backend IS DISTINCT FROM CAST(:backend AS text) AND state IN ('stored', 'deleted')
    ORDER BY created_at LIMIT :limit
""")


@dataclass(slots=True)
class Moved:
    """What became of the objects; `damaged` are those whose bytes are not what their names say, or cannot be read.

    `left` counts the assets that are not in the new store at the end, and `named` are the oldest of them.
    """

    copied: int = 0
    copied_bytes: int = 0
    there: int = 0
    damaged: int = 0
    left: int = 0
    named: list[UUID] = field(default_factory=list)


class DamagedError(Exception):
    """The bytes are not those that the name stands for."""


async def move(former: Objects, current: Objects, database: Database) -> Moved:
    """Copies what `current` has not, and notes in the rows where it is. Nothing is taken away from `former`.

    A store that is the wrong one has nothing to copy: whether all is moved is what the rows say.

    Raises:
        OSError, sqlalchemy.exc.DBAPIError: a store or the database is away; begin again.
    """
    moved = Moved()
    async for names in former.names():
        for start in range(0, len(names), AT_ONCE):
            several = names[start : start + AT_ONCE]
            arrived = await asyncio.gather(*(_bring(former, current, name, moved) for name in several))
            await _note(database, current.backend, [name for name in arrived if name is not None])
    async with database.statement() as connection:
        left = (await connection.execute(_LEFT, {"backend": current.backend, "limit": NAMED_AT_MOST})).all()
    moved.left, moved.named = left[0].together if left else 0, [row.id for row in left]
    return moved


async def _bring(former: Objects, current: Objects, name: str, moved: Moved) -> str | None:
    """The name, once the object is in the other store."""
    size = await former.size(name)
    if size is None:
        return None  # collected meanwhile
    if await current.size(name) == size:
        moved.there += 1
        return name
    try:
        await _copy(former, current, name)
    except Absent:
        return None
    except DamagedError as error:
        moved.damaged += 1
        log.error("object.damaged", name=name, where=str(error))
        return None
    moved.copied += 1
    moved.copied_bytes += size
    return name


async def _copy(former: Objects, current: Objects, name: str) -> None:
    with SpooledTemporaryFile(IN_MEMORY_BYTES) as content:
        if await _digest(former, name, content) != name[-64:]:
            raise DamagedError(former.backend)
        await current.put(name, content, content.tell())
    if await _digest(current, name, None) != name[-64:]:
        raise DamagedError(current.backend)


async def _digest(objects: Objects, name: str, content: IO[bytes] | None) -> str:
    digest = sha256()
    async with aclosing(objects.open(name)) as chunks:
        async for chunk in chunks:
            digest.update(chunk)
            if content is not None:
                await asyncio.to_thread(content.write, chunk)
    return digest.hexdigest()


async def _note(database: Database, backend: str, names: Sequence[str]) -> None:
    if names:
        async with database.statement() as connection:
            await connection.execute(_NOTE, {"backend": backend, "names": names})

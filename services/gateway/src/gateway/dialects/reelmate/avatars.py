"""Who is seen in the films: ours, which everybody has, and the faces that users bring.

A film starts from a picture that is its user's. One of ours becomes an upload of the user's when it is used first,
always under the same id, so that no row has to remember it.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Asset, Input
from contracts.ids import asset_id, keyed_generation_id
from gateway.identity import Caller
from gateway.refusals import InputNotFound, NotFound, QuotaExceeded
from gateway.uploads import Uploads
from runtime.database import Database, Row

MAX_AVATARS = 50
"""Of one user."""
ROUTE = "/api/ai-studio/avatars"
SHELF = Path(__file__).parent / "shelf"
TYPES = {".jpg": "image/jpeg", ".mp3": "audio/mpeg"}
PREVIEWS = {path.name: path for path in SHELF.iterdir() if path.suffix in TYPES}
"""What we ship, by name: nothing else is ever read."""

_AVATARS = text("""
    SELECT * FROM ai_avatars WHERE user_id IS NULL OR user_id = :user_id
    ORDER BY user_id IS NOT NULL, created_at, id
""")
_AVATAR = text("SELECT * FROM ai_avatars WHERE id = :id AND (user_id IS NULL OR user_id = :user_id)")
_INSERT = text("""
    INSERT INTO ai_avatars (id, user_id, name, description, gender, style, asset_id, asset_key, thumbnail_key)
    SELECT :id, :user_id, :name, :description, :gender, :style, :asset_id, :asset_key, :thumbnail_key
    WHERE (SELECT count(*) FROM ai_avatars WHERE user_id = :user_id) < :most
    ON CONFLICT (id) DO UPDATE SET asset_key = excluded.asset_key RETURNING *
""")
_OWN = text("SELECT asset_id FROM ai_avatars WHERE id = :id AND user_id = :user_id")
_DELETE = text("DELETE FROM ai_avatars WHERE id = :id AND user_id = :user_id")
_COUNT = text("SELECT count(*) FROM ai_avatars WHERE user_id = :user_id")

Made = TypeVar("Made")


class Avatars:
    """The avatars and what they need."""

    def __init__(self, database: Database, uploads: Uploads) -> None:
        self._database = database
        self._uploads = uploads

    async def all(self, caller: Caller) -> Sequence[Row]:
        """Ours, then the caller's own."""
        async with self._database.statement() as connection:
            return (await connection.execute(_AVATARS, {"user_id": caller.user_id})).all()

    async def get(self, caller: Caller, avatar_id: UUID) -> Row:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_AVATAR, {"id": avatar_id, "user_id": caller.user_id})).one_or_none()
        if row is None:
            raise NotFound("There is no such avatar.")
        return row

    async def check_room(self, caller: Caller) -> None:
        """Before a file is taken. Raises QuotaExceeded."""
        async with self._database.statement() as connection:
            if (await connection.execute(_COUNT, {"user_id": caller.user_id})).scalar_one() >= MAX_AVATARS:
                raise QuotaExceeded(f"You have {MAX_AVATARS} avatars; delete some first.")

    async def keep(self, caller: Caller, asset: Asset, about: dict[str, Any]) -> Row:
        """A face of the caller's own, of a picture that they brought; under its asset's id.

        Raises QuotaExceeded.
        """
        values = {
            **about,
            "id": asset.id,
            "user_id": caller.user_id,
            "asset_id": asset.id,
            "asset_key": asset.key,
            "thumbnail_key": asset.variants.get("thumbnail"),
            "most": MAX_AVATARS,
        }
        async with self._database.statement() as connection:
            row = (await connection.execute(_INSERT, values)).one_or_none()
        if row is None:
            raise QuotaExceeded(f"You have {MAX_AVATARS} avatars; delete some first.")
        return row

    async def delete(self, caller: Caller, avatar_id: UUID) -> None:
        """With its picture. Films in which it was seen stay.

        Raises:
            NotFound: ours are nobody's to delete. NotFinished: a film with it is being made.
            Unavailable: nothing has changed.
        """
        whose = {"id": avatar_id, "user_id": caller.user_id}
        async with self._database.statement() as connection:
            asset_id = (await connection.execute(_OWN, whose)).scalar_one_or_none()
        if asset_id is None:
            raise NotFound("There is no such avatar of yours.")
        with contextlib.suppress(NotFound):
            await self._uploads.delete(caller, asset_id)
        async with self._database.statement() as connection:
            await connection.execute(_DELETE, whose)

    async def lending(self, caller: Caller, avatar: Row, ask: Callable[[], Awaitable[Made]]) -> Made:
        """What is asked for with this avatar, which is brought to the user's media where it is not there yet.

        Raises Refusal: as bringing it, or what is asked for, does.
        """
        try:
            return await ask()
        except InputNotFound:
            if avatar.preview is None:
                raise
            await self._uploads.take(caller, _chunks(avatar.preview), _key(avatar), ROUTE)
            return await ask()


def picture(caller: Caller, avatar: Row) -> Input:
    """What a film with this avatar starts from."""
    if avatar.asset_id is not None:
        return Input(role="image", asset_id=avatar.asset_id)
    return Input(role="image", asset_id=asset_id(keyed_generation_id(caller.user_id, ROUTE, _key(avatar)), 0))


def _key(avatar: Row) -> str:
    return f"shipped-{avatar.preview}"


async def _chunks(name: str) -> AsyncIterator[bytes]:
    yield PREVIEWS[name].read_bytes()

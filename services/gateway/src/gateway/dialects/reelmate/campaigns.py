"""Campaigns: what a user plans, in states from `draft` on. Every statement names the owner."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from gateway.identity import Caller
from gateway.refusals import NotFound, QuotaExceeded
from runtime.database import Database, Row

MAX_CAMPAIGNS = 1000
"""Of one user."""
STATES = {"activate": "active", "pause": "paused", "complete": "completed", "archive": "archived"}
"""What a bulk action makes of campaigns; `delete` is the other one."""

_COLUMNS = """id, user_id, name, description, type, status, platforms, video_format,
    target_audience::text AS target_audience, budget, hashtags::text AS hashtags, call_to_action, start_date, end_date,
    created_at, updated_at"""
_PARTS = {
    "name": ":name", "description": ":description", "type": ":type", "status": ":status", "platforms": ":platforms",
    "video_format": ":video_format", "target_audience": "CAST(:target_audience AS jsonb)", "budget": ":budget",
    "hashtags": "CAST(:hashtags AS jsonb)", "call_to_action": ":call_to_action", "start_date": ":start_date",
    "end_date": ":end_date",
}  # fmt: skip
_JSON = {"target_audience", "hashtags"}
_WHERE = """user_id = :user_id
    AND (CAST(:status AS text) IS NULL OR status = :status)
    AND (CAST(:type AS text) IS NULL OR type = :type)
    AND (CAST(:platform AS text) IS NULL OR :platform = ANY (platforms))
    AND (CAST(:words AS text) IS NULL OR name ILIKE :words OR description ILIKE :words)
    AND (CAST(:within AS interval) IS NULL OR created_at >= now() - CAST(:within AS interval))"""
_COUNT = text(f"SELECT count(*) FROM campaigns WHERE {_WHERE}")  # noqa: S608 - put together from constants
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM campaigns WHERE {_WHERE} ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset
""")  # noqa: S608
_GET = text(f"SELECT {_COLUMNS} FROM campaigns WHERE id = :id AND user_id = :user_id")  # noqa: S608
_DELETE = text("DELETE FROM campaigns WHERE id = ANY (CAST(:ids AS uuid[])) AND user_id = :user_id RETURNING id")
_MOVE = text("""
    UPDATE campaigns SET status = :status, updated_at = now()
    WHERE id = ANY (CAST(:ids AS uuid[])) AND user_id = :user_id RETURNING id
""")


class Campaigns:
    """The campaigns and what they need."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, caller: Caller, parts: dict[str, Any]) -> Row:
        """A new campaign of these columns. Raises QuotaExceeded."""
        values = {"user_id": ":user_id"} | {name: _PARTS[name] for name in parts}
        query = f"""INSERT INTO campaigns ({", ".join(values)}) SELECT {", ".join(values.values())}
            WHERE (SELECT count(*) FROM campaigns WHERE user_id = :user_id) < :most RETURNING {_COLUMNS}"""  # noqa: S608
        async with self._database.statement() as connection:
            bound = _values(parts) | {"user_id": caller.user_id, "most": MAX_CAMPAIGNS}
            row = (await connection.execute(_query(query, parts), bound)).one_or_none()
        if row is None:
            raise QuotaExceeded(f"You have {MAX_CAMPAIGNS} campaigns; delete some first.")
        return row

    async def change(self, caller: Caller, campaign_id: UUID, parts: dict[str, Any]) -> Row:
        """The campaign with these columns changed. Raises NotFound."""
        changes = "".join(f"{name} = {_PARTS[name]}, " for name in parts)
        query = f"""UPDATE campaigns SET {changes}updated_at = now() WHERE id = :id AND user_id = :user_id
            RETURNING {_COLUMNS}"""  # noqa: S608
        async with self._database.statement() as connection:
            bound = _values(parts) | {"user_id": caller.user_id, "id": campaign_id}
            return _found((await connection.execute(_query(query, parts), bound)).one_or_none())

    async def get(self, caller: Caller, campaign_id: UUID) -> Row:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            values = {"id": campaign_id, "user_id": caller.user_id}
            return _found((await connection.execute(_GET, values)).one_or_none())

    async def page(
        self,
        caller: Caller,
        number: int,
        limit: int,
        *,
        status: str | None = None,
        kind: str | None = None,
        platform: str | None = None,
        words: str | None = None,
        days: int | None = None,
    ) -> tuple[Sequence[Row], int]:
        """Page `number`, from 1, the newest first; and how many there are on all pages."""
        values = {
            "user_id": caller.user_id,
            "status": status,
            "type": kind,
            "platform": platform,
            "words": f"%{_literally(words)}%" if words else None,
            "within": timedelta(days=days) if days else None,
        }
        async with self._database.statement() as connection:
            total = (await connection.execute(_COUNT, values)).scalar_one()
            place = {"limit": limit, "offset": (number - 1) * limit}
            return (await connection.execute(_PAGE, values | place)).all(), total

    async def act(self, caller: Caller, action: str, ids: Sequence[UUID]) -> list[UUID]:
        """Does it to those of these campaigns that are the caller's, and says which these are."""
        values = {"ids": list(ids), "user_id": caller.user_id}
        async with self._database.statement() as connection:
            if action == "delete":
                return list((await connection.execute(_DELETE, values)).scalars())
            return list((await connection.execute(_MOVE, values | {"status": STATES[action]})).scalars())

    async def delete(self, caller: Caller, campaign_id: UUID) -> None:
        """Its films stay. Raises NotFound."""
        if not await self.act(caller, "delete", [campaign_id]):
            raise NotFound("There is no such campaign.")


def _query(query: str, parts: dict[str, Any]) -> Any:
    statement = text(query)
    return statement.bindparams(bindparam("platforms", type_=ARRAY(TEXT))) if "platforms" in parts else statement


def _values(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if name in _JSON and value is not None else value for name, value in parts.items()}


def _literally(words: str) -> str:
    """As LIKE takes them for themselves."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such campaign.")
    return row

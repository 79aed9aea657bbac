"""A user's generations, a page at a time, and the cursors that lead from one to the next."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.records import COLUMNS, Generation, generation_of
from runtime.database import Connection


@dataclass(frozen=True, slots=True)
class Page:
    """`cursor` is opaque; None at the end."""

    items: tuple[Generation, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of a user's generations; None leaves a question open."""

    status: str | None = None
    kind: str | None = None
    lane: str | None = None
    model: str | None = None
    batch: UUID | None = None
    words: str | None = None
    """Part of the prompt, in any case."""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is not meant any more."""


_CONDITIONS = {
    "status": "status = :status",
    "kind": "kind = :kind",
    "lane": "lane = :lane",
    "model": "model = :model",
    "batch": "batch_id = :batch",
    "words": "prompt ILIKE :words",
    "since": "created_at >= :since",
    "until": "created_at < :until",
}


def _page_query(asked: Collection[str], *, after: bool) -> Any:
    conditions = ["user_id = :user_id", "deleted_at IS NULL", *(_CONDITIONS[name] for name in asked)]
    conditions += ["(created_at, id) < (:created_at, :id)"] if after else []
    where = " AND ".join(conditions)
    # Put together from the constants above; every value is bound.
    query = f"SELECT {COLUMNS} FROM generations WHERE {where} ORDER BY created_at DESC, id DESC LIMIT :limit"  # noqa: S608
    return text(query)


async def page(
    connection: Connection,
    user_id: UUID,
    limit: int,
    cursor: str | None = None,
    wanted: Filter = Filter(),
) -> Page:
    """A user's generations, newest first.

    Raises:
        ValueError: the cursor is not one of ours.
    """
    asked = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    values: dict[str, Any] = {**asked, "user_id": user_id, "limit": limit + 1}
    if wanted.words is not None:
        values["words"] = f"%{_literally(wanted.words)}%"
    if cursor is not None:
        values["created_at"], values["id"] = _decode_cursor(cursor)
    query = _page_query(asked, after=cursor is not None)
    items = tuple(map(generation_of, await connection.execute(query, values)))
    if len(items) <= limit:
        return Page(items, None)
    last = items[limit - 1]
    return Page(items[:limit], cursor_after(last))


def cursor_after(generation: Generation) -> str:
    """What leads to those that are older."""
    return _encode_cursor(generation.created_at, generation.id)


def _literally(words: str) -> str:
    """As LIKE takes them for themselves."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _encode_cursor(created_at: datetime, generation_id: UUID) -> str:
    return base64.urlsafe_b64encode(f"{created_at.isoformat()}|{generation_id}".encode()).decode()


def _decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        created_at, _, generation_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        place = datetime.fromisoformat(created_at), UUID(generation_id)
    except ValueError as error:
        raise ValueError("not a cursor") from error
    # Decoders forgive much. In UTC, as ours are, every time is one that Postgres knows.
    if place[0].utcoffset() != timedelta(0) or _encode_cursor(*place) != cursor:
        raise ValueError("not a cursor as we write them")
    return place

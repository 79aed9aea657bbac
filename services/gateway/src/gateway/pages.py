"""A user's generations, a page at a time, and the cursors that lead from one to the next."""

import base64
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


def _page_query(*, after: bool, status: bool, kind: bool) -> Any:
    conditions = ["user_id = :user_id"]
    conditions += ["(created_at, id) < (:created_at, :id)"] if after else []
    conditions += ["status = :status"] if status else []
    conditions += ["kind = :kind"] if kind else []
    where = " AND ".join(conditions)
    # Put together from the constants above; every value is bound.
    query = f"SELECT {COLUMNS} FROM generations WHERE {where} ORDER BY created_at DESC, id DESC LIMIT :limit"  # noqa: S608
    return text(query)


async def page(
    connection: Connection,
    user_id: UUID,
    limit: int,
    cursor: str | None = None,
    status: str | None = None,
    kind: str | None = None,
) -> Page:
    """A user's generations, newest first.

    Raises:
        ValueError: the cursor is not one of ours.
    """
    values: dict[str, Any] = {"user_id": user_id, "limit": limit + 1, "status": status, "kind": kind}
    if cursor is not None:
        values["created_at"], values["id"] = _decode_cursor(cursor)
    query = _page_query(after=cursor is not None, status=status is not None, kind=kind is not None)
    given = {name: values[name] for name in query.compile().params}
    items = tuple(map(generation_of, await connection.execute(query, given)))
    if len(items) <= limit:
        return Page(items, None)
    last = items[limit - 1]
    return Page(items[:limit], _encode_cursor(last.created_at, last.id))


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

"""How often films were looked at, by day (UTC), and the links under which others may see them."""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Visibility
from gateway.identity import Caller
from gateway.records import COLUMNS, Generation, generation_of
from gateway.refusals import NotFound
from runtime.database import Connection, Database, Row

Event = Literal["view", "play", "complete", "download", "share"]
_COLUMN_OF: dict[Event, str] = {
    "view": "views", "play": "plays", "complete": "completions", "download": "downloads", "share": "shares",
}  # fmt: skip
TOKEN_BYTES = 18
_TOKEN = re.compile(r"[\w-]{24}", re.ASCII)

_OF_A_FILM = "dialect = 'reelmate' AND kind = 'video' AND status = 'completed' AND deleted_at IS NULL"
_COUNTS = ", ".join(f"sum({column})::bigint AS {column}" for column in _COLUMN_OF.values())
# The film is looked up in the statement that counts, so that nothing is counted for what is not there, and one update
# adds to what another added.
_COUNT = {
    event: text(f"""
        WITH film AS (
            SELECT {COLUMNS} FROM generations g WHERE id = :id AND user_id = :user_id AND {_OF_A_FILM}
        ), counted AS (
            INSERT INTO video_analytics AS a (generation_id, user_id, day, {column})
            SELECT id, user_id, CAST(now() AT TIME ZONE 'UTC' AS date), 1 FROM film
            ON CONFLICT (generation_id, day) DO UPDATE SET {column} = a.{column} + 1
        )
        SELECT * FROM film
    """)  # noqa: S608 - put together from constants
    for event, column in _COLUMN_OF.items()
}
_SHARE = text("""
    INSERT INTO video_shares AS s (token, generation_id, user_id) VALUES (:token, :id, :user_id)
    ON CONFLICT (generation_id) DO UPDATE SET user_id = s.user_id RETURNING token
""")
# What its owner made private since is seen by nobody else, whatever links there are.
_SHARED = text("""
    SELECT s.generation_id, s.user_id FROM video_shares s JOIN generations g ON g.id = s.generation_id
    WHERE s.token = :token AND g.particulars ->> 'visibility' IS DISTINCT FROM 'owner'
""")
_TOTALS = text(f"""
    SELECT {_COUNTS} FROM video_analytics WHERE user_id = :user_id AND day >= :since
""")  # noqa: S608
_DAYS = text(f"""
    SELECT day, {_COUNTS} FROM video_analytics
    WHERE user_id = :user_id AND day >= :since AND (CAST(:id AS uuid) IS NULL OR generation_id = :id)
    GROUP BY day ORDER BY day
""")  # noqa: S608
_IS_THERE = text(f"""
    SELECT EXISTS (SELECT FROM generations WHERE id = :id AND user_id = :user_id AND {_OF_A_FILM})
""")  # noqa: S608
_NUMBERS = text(f"""
    SELECT (SELECT count(*) FROM generations WHERE user_id = :user_id AND {_OF_A_FILM}) AS videos,
        (SELECT count(*) FROM campaigns WHERE user_id = :user_id) AS campaigns,
        (SELECT count(*) FROM campaigns WHERE user_id = :user_id AND status = 'active') AS active
""")  # noqa: S608
_BEGINNING = 365 * 10


class Counts:
    """The counts and what they need."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, caller: Caller, video_id: UUID, event: Event) -> Generation | None:
        """Counts once more of a film of the caller's; None where there is none, and then nothing is counted."""
        async with self._database.statement() as connection:
            return await _counted(connection, caller.user_id, video_id, event)

    async def share(self, caller: Caller, video_id: UUID) -> str | None:
        """The token of a film's link, always the same one; None where there is no such film of the caller's.

        Raises NotFound: it is its owner's alone, and nobody would see it by the link.
        """
        async with self._database.transaction() as connection:
            film = await _counted(connection, caller.user_id, video_id, "share")
            if film is None:
                return None
            if film.visibility is Visibility.OWNER:
                raise NotFound("Nobody else may see this video: make it public first.")
            values = {"id": video_id, "user_id": caller.user_id, "token": secrets.token_urlsafe(TOKEN_BYTES)}
            return str((await connection.execute(_SHARE, values)).scalar_one())

    async def shared(self, token: str, event: Event) -> Generation | None:
        """The same of a film that its owner shared, by whoever has the link."""
        if not _TOKEN.fullmatch(token):
            return None
        async with self._database.transaction() as connection:
            row = (await connection.execute(_SHARED, {"token": token})).one_or_none()
            if row is None:
                return None
            return await _counted(connection, row.user_id, row.generation_id, event)

    async def totals(self, caller: Caller, days: int | None) -> tuple[Row, Row]:
        """What was counted in the last days, or ever; and how many films and campaigns there are."""
        async with self._database.statement() as connection:
            values = {"user_id": caller.user_id, "since": _since(days)}
            counted = (await connection.execute(_TOTALS, values)).one()
            return counted, (await connection.execute(_NUMBERS, {"user_id": caller.user_id})).one()

    async def by_day(self, caller: Caller, days: int | None, video_id: UUID | None = None) -> Sequence[Row]:
        """Of one film or of all; days on which nothing happened are left out.

        Raises NotFound: there is no such film of the caller's.
        """
        async with self._database.statement() as connection:
            film = {"id": video_id, "user_id": caller.user_id}
            if video_id is not None and not (await connection.execute(_IS_THERE, film)).scalar_one():
                raise NotFound("There is no such video.")
            values = {"user_id": caller.user_id, "since": _since(days), "id": video_id}
            return (await connection.execute(_DAYS, values)).all()


async def _counted(connection: Connection, user_id: UUID, video_id: UUID, event: Event) -> Generation | None:
    row = (await connection.execute(_COUNT[event], {"id": video_id, "user_id": user_id})).one_or_none()
    return generation_of(row) if row else None


def _since(days: int | None) -> object:
    return (datetime.now(UTC) - timedelta(days=days or _BEGINNING)).date()


def rate(plays: int, views: int) -> float:
    """Of a hundred who saw a film, how many began it: with two decimals."""
    return round(100 * plays / views, 2) if views else 0.0

"""Likes, dislikes and views: counted once each, and never lost, however many come at once.

Calls that come together share a statement, so that a hot video's row is changed once for all of them. Rows are locked
in one order: reactions or views, then videos, then creators, each by id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import text

from gateway.dialects.instaveo.videos import PUBLIC
from gateway.refusals import NotFound
from runtime.database import Database, Together

Reaction = Literal["like", "dislike"]

_SEEN = f"""
    SELECT a.* FROM asked a JOIN instaveo_videos v ON v.id = a.video_id JOIN generations g ON g.id = v.id
    WHERE g.deleted_at IS NULL AND (v.user_id = a.user_id OR {PUBLIC})
"""
_ACTIVE = """
    UPDATE instaveo_creators c SET last_active_at = now(), is_stale = true
    FROM (SELECT DISTINCT user_id FROM seen WHERE user_id IS NOT NULL AND (SELECT count(*) FROM counted) >= 0
          ORDER BY user_id) AS a
    WHERE c.id = a.user_id
"""
# A row that was there can only have said the opposite: it moves both counters.
_REACT = text(f"""
    WITH asked AS (
        SELECT DISTINCT ON (video_id, user_id) video_id, user_id, reaction
        FROM unnest(CAST(:videos AS uuid[]), CAST(:users AS uuid[]), CAST(:reactions AS text[]))
            WITH ORDINALITY AS t (video_id, user_id, reaction, number)
        ORDER BY video_id, user_id, number DESC
    ), seen AS ({_SEEN}), changed AS (
        INSERT INTO instaveo_reactions AS r (video_id, user_id, reaction)
        SELECT video_id, user_id, reaction FROM seen ORDER BY video_id, user_id
        ON CONFLICT (video_id, user_id) DO UPDATE SET reaction = excluded.reaction, created_at = now()
        WHERE r.reaction <> excluded.reaction
        RETURNING video_id, reaction, xmax = 0 AS is_first
    ), moved AS (
        SELECT video_id,
            count(*) FILTER (WHERE reaction = 'like')
                - count(*) FILTER (WHERE reaction = 'dislike' AND NOT is_first) AS likes,
            count(*) FILTER (WHERE reaction = 'dislike')
                - count(*) FILTER (WHERE reaction = 'like' AND NOT is_first) AS dislikes
        FROM changed GROUP BY video_id ORDER BY video_id
    ), counted AS (
        UPDATE instaveo_videos v SET likes = v.likes + moved.likes, dislikes = v.dislikes + moved.dislikes,
            is_stale = true, updated_at = now()
        FROM moved WHERE v.id = moved.video_id RETURNING v.id
    ), active AS ({_ACTIVE})
    SELECT video_id, user_id FROM seen
""")
_VIEW = text(f"""
    WITH asked AS (
        SELECT DISTINCT ON (video_id, viewer) video_id, viewer, user_id
        FROM unnest(CAST(:videos AS uuid[]), CAST(:viewers AS text[]), CAST(:users AS uuid[]))
            AS t (video_id, viewer, user_id)
        ORDER BY video_id, viewer
    ), seen AS ({_SEEN}), added AS (
        INSERT INTO instaveo_views (video_id, viewer, hour, user_id)
        SELECT video_id, viewer, date_trunc('hour', now(), 'UTC'), user_id FROM seen ORDER BY video_id, viewer
        ON CONFLICT DO NOTHING RETURNING video_id
    ), counted AS (
        UPDATE instaveo_videos v SET views = v.views + new.views, is_stale = true, updated_at = now()
        FROM (SELECT video_id, count(*) AS views FROM added GROUP BY video_id ORDER BY video_id) AS new
        WHERE v.id = new.video_id RETURNING v.id
    ), active AS ({_ACTIVE})
    SELECT video_id, viewer FROM seen
""")
_SESSION_KEY = text("SELECT session_key FROM instaveo_ranking")


@dataclass(frozen=True, slots=True)
class _Reacted:
    video_id: UUID
    user_id: UUID
    reaction: Reaction


@dataclass(frozen=True, slots=True)
class _Viewed:
    video_id: UUID
    viewer: str
    user_id: UUID | None


class Interactions:
    """What viewers do with videos that they may see."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._react = Together(self._react_all)
        self._view = Together(self._view_all)
        self._session_key: bytes | None = None

    async def react(self, video_id: UUID, user_id: UUID, reaction: Reaction) -> None:
        """One reaction of a user to a video: the last one holds. Raises NotFound."""
        if not await self._react(_Reacted(video_id, user_id, reaction)):
            raise NotFound("There is no such video.")

    async def view(self, video_id: UUID, user_id: UUID | None, session: str) -> None:
        """Counted once in an hour for a user, or for a session where nobody is signed in. Raises NotFound."""
        viewer = session if user_id is None else str(user_id)
        if not await self._view(_Viewed(video_id, viewer, user_id)):
            raise NotFound("There is no such video.")

    async def session_key(self) -> bytes:
        """What sessions of all replicas are hashed with."""
        if self._session_key is None:
            async with self._database.statement() as connection:
                self._session_key = bytes((await connection.execute(_SESSION_KEY)).scalar_one())
        return self._session_key

    async def _react_all(self, reacted: Sequence[_Reacted]) -> list[bool]:
        values = {
            "videos": [each.video_id for each in reacted],
            "users": [each.user_id for each in reacted],
            "reactions": [each.reaction for each in reacted],
        }
        async with self._database.statement() as connection:
            seen = {(row.video_id, row.user_id) for row in await connection.execute(_REACT, values)}
        return [(each.video_id, each.user_id) in seen for each in reacted]

    async def _view_all(self, viewed: Sequence[_Viewed]) -> list[bool]:
        values = {
            "videos": [each.video_id for each in viewed],
            "viewers": [each.viewer for each in viewed],
            "users": [each.user_id for each in viewed],
        }
        async with self._database.statement() as connection:
            seen = {(row.video_id, row.viewer) for row in await connection.execute(_VIEW, values)}
        return [(each.video_id, each.viewer) in seen for each in viewed]

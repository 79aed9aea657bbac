"""The ranking: scores of videos and creators, computed anew in sets, for what has changed since.

A video's score is `log10(max(1, |points|)) · sign(points) + bonus`, with `points = likes - dislikes + views / 20` and a
bonus of 1 for every 12.5 hours that it is younger: so much older, it needs ten times the points. The bonus counts from
a fixed day, so that a score changes with its counters only, and never with time alone. A creator's score is built alike
from `3 · likes - dislikes + 2 · videos`, and a week since the last activity costs as much as ten times the points.

Each round that changes anything is an epoch. A score says from which epoch until which it holds, and is kept for a
while after, so that who scrolls sees one feed (docs/adr/0025). One replica does a round; rows are locked as everywhere:
videos, then creators.
"""

import asyncio
import time
from uuid import UUID

import structlog
from sqlalchemy import text

from gateway.dialects.instaveo.videos import FOR_ALL
from runtime.database import Connection, Database

EVERY_SECONDS = 5.0
ROWS = 1000
"""Videos, and creators, in one round; where there are more, the next one follows at once."""
PRUNED_ROWS = 5000
PRUNE_SECONDS = 60.0
"""After so long a process looks for what is too old also where there is nothing to rank."""
KEPT_VIEW_DAYS = 90
"""Of views who saw a video when; a video's counter stays as it is."""
KEPT_EPOCHS = 180
"""One in five seconds: a scroll may last a quarter of an hour, and is cut shorter only by a backlog of changes."""
_FIRST_DAY = 1_735_689_600
"""1 January 2025, in Unix seconds: any day would do."""
FACTOR_TEN_SECONDS = 45_000
CREATOR_FACTOR_TEN_SECONDS = 7 * 24 * 3600

log = structlog.get_logger()

_BEGIN = text("""
    SELECT epoch FROM instaveo_ranking
    WHERE next_at <= now() AND (CAST(:prunes AS boolean)
        OR EXISTS (SELECT FROM instaveo_videos WHERE is_stale)
        OR EXISTS (SELECT FROM instaveo_creators WHERE is_stale))
    FOR UPDATE SKIP LOCKED
""")
# Locked first and read after: what was written in between is seen, or makes the row stale again.
_STALE_VIDEOS = text("""
    SELECT id FROM instaveo_videos WHERE is_stale ORDER BY id LIMIT :rows FOR UPDATE SKIP LOCKED
""")
_SCORE = text(f"""
    WITH found AS (
        SELECT v.id, g.status = 'completed' AND g.deleted_at IS NULL AS is_live, {FOR_ALL} AS is_for_all,
            v.likes - v.dislikes + v.views / 20.0::float8 AS points
        FROM unnest(CAST(:ids AS uuid[])) AS t (id) JOIN instaveo_videos v USING (id) JOIN generations g USING (id)
    )
    UPDATE instaveo_videos v SET is_stale = false, is_live = found.is_live,
        ranking_score = log(greatest(1, abs(points))) * sign(points)
            + (extract(epoch FROM v.created_at)::float8 - {_FIRST_DAY}) / {FACTOR_TEN_SECONDS}
    FROM found WHERE v.id = found.id
    RETURNING v.id, v.user_id, v.is_live AND v.is_published AND found.is_for_all AS is_public, v.ranking_score
""")
_PLACE = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:publics AS boolean[]), CAST(:scores AS float8[]))
            AS t (id, is_public, score)
    ), moved AS (
        SELECT * FROM given WHERE NOT EXISTS (
            SELECT 1 FROM instaveo_scores s
            WHERE s.video_id = given.id AND s.until_epoch = 9223372036854775807 AND s.score = given.score
                AND given.is_public
        )
    ), closed AS (
        UPDATE instaveo_scores s SET until_epoch = :epoch FROM moved
        WHERE s.video_id = moved.id AND s.until_epoch = 9223372036854775807
    )
    INSERT INTO instaveo_scores (video_id, score, from_epoch) SELECT id, score, :epoch FROM moved WHERE is_public
""")
_MARK_CREATORS = text("""
    UPDATE instaveo_creators c SET is_stale = true FROM (SELECT id FROM unnest(CAST(:ids AS uuid[])) AS t (id)
        ORDER BY id) AS owners WHERE c.id = owners.id
""")
_STALE_CREATORS = text("""
    SELECT id FROM instaveo_creators WHERE is_stale ORDER BY id LIMIT :rows FOR UPDATE SKIP LOCKED
""")
_SUM_UP = text(f"""
    WITH totals AS (
        SELECT t.id, count(v.id) AS videos, coalesce(sum(v.likes), 0) AS likes,
            coalesce(sum(v.dislikes), 0) AS dislikes
        FROM unnest(CAST(:ids AS uuid[])) AS t (id) LEFT JOIN instaveo_videos v ON v.user_id = t.id AND v.is_live
        GROUP BY t.id
    ), pointed AS (
        SELECT *, (3 * likes - dislikes + 2 * videos)::float8 AS points FROM totals
    )
    UPDATE instaveo_creators c SET is_stale = false, videos_created = videos, total_likes = likes,
        total_dislikes = dislikes,
        creator_score = log(greatest(1, abs(points))) * sign(points)
            + (extract(epoch FROM c.last_active_at)::float8 - {_FIRST_DAY}) / {CREATOR_FACTOR_TEN_SECONDS}
    FROM pointed WHERE c.id = pointed.id
""")
_PRUNE_SCORES = text("""
    DELETE FROM instaveo_scores WHERE (video_id, from_epoch) IN (
        SELECT video_id, from_epoch FROM instaveo_scores WHERE until_epoch <= :epoch ORDER BY until_epoch LIMIT :rows
    )
""")
_PRUNE_SIGNATURES = text("""
    DELETE FROM instaveo_signatures WHERE (signature, user_id) IN (
        SELECT signature, user_id FROM instaveo_signatures WHERE expires_at < now() ORDER BY expires_at LIMIT :rows
    )
""")
_PRUNE_VIEWS = text("""
    DELETE FROM instaveo_views WHERE (video_id, viewer, hour) IN (
        SELECT video_id, viewer, hour FROM instaveo_views
        WHERE hour < date_trunc('hour', now(), 'UTC') - make_interval(days => :days) ORDER BY hour LIMIT :rows
    )
""")
_END = text("""
    UPDATE instaveo_ranking SET epoch = :epoch, next_at = now() + make_interval(secs => :pause_seconds)
""")


class Ranking:
    """A loop in every gateway; one of them does the round."""

    def __init__(self, database: Database, every_seconds: float = EVERY_SECONDS) -> None:
        self._database = database
        self._every_seconds = every_seconds
        self._task: asyncio.Task[None] | None = None
        self._pruned_at = time.monotonic() - PRUNE_SECONDS

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ranking")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            pause_seconds = self._every_seconds
            try:
                if await self.round():
                    pause_seconds = 0
            except Exception as error:
                log.warning("ranking.not_done", error=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(pause_seconds)

    async def round(self) -> bool:
        """Ranks what has changed, where it is time and nobody else does; whether there is more of it.

        Raises sqlalchemy.exc.DBAPIError, OSError: the database is away.
        """
        async with self._database.transaction() as connection:
            prunes = time.monotonic() - self._pruned_at >= PRUNE_SECONDS
            epoch = (await connection.execute(_BEGIN, {"prunes": prunes})).scalar_one_or_none()
            if epoch is None:
                return False
            videos, is_moved = await _rank_videos(connection, epoch + 1)
            creators = await _rank_creators(connection, videos)
            await connection.execute(_PRUNE_SCORES, {"epoch": epoch - KEPT_EPOCHS, "rows": PRUNED_ROWS})
            await connection.execute(_PRUNE_SIGNATURES, {"rows": PRUNED_ROWS})
            await connection.execute(_PRUNE_VIEWS, {"days": KEPT_VIEW_DAYS, "rows": PRUNED_ROWS})
            self._pruned_at = time.monotonic()
            is_more = len(videos) == ROWS or creators == ROWS
            # A little early, so that the next look of this loop is in time.
            pause_seconds = 0 if is_more else self._every_seconds * 0.9
            await connection.execute(_END, {"epoch": epoch + is_moved, "pause_seconds": pause_seconds})
            return is_more


async def _rank_videos(connection: Connection, epoch: int) -> tuple[list[UUID], bool]:
    """The owners of what was ranked, one for each video; whether there is an epoch to begin."""
    ids = (await connection.execute(_STALE_VIDEOS, {"rows": ROWS})).scalars()
    if not ids:
        return [], False
    rows = (await connection.execute(_SCORE, {"ids": ids})).all()
    values = {
        "ids": [row.id for row in rows],
        "publics": [row.is_public for row in rows],
        "scores": [row.ranking_score for row in rows],
        "epoch": epoch,
    }
    await connection.execute(_PLACE, values)
    return [row.user_id for row in rows], True


async def _rank_creators(connection: Connection, owners: list[UUID]) -> int:
    """How many were ranked."""
    if owners:
        await connection.execute(_MARK_CREATORS, {"ids": sorted(set(owners))})
    ids = (await connection.execute(_STALE_CREATORS, {"rows": ROWS})).scalars()
    if ids:
        await connection.execute(_SUM_UP, {"ids": ids})
    return len(ids)

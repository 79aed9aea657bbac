"""The ranked feed, a page at a time. Who scrolls sees the feed as it was when they began (docs/adr/0025)."""

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from gateway.dialects.instaveo.ranking import KEPT_EPOCHS
from gateway.dialects.instaveo.videos import COLUMNS, FOUND, PUBLIC, Video, video_of
from gateway.refusals import Invalid
from runtime.database import Database

MAX_PAGE = 50
_CURSOR = re.compile(r"[A-Za-z0-9_-]{1,120}")
_HIGHEST = UUID(int=(1 << 128) - 1)

PAGE = text(f"""
    WITH as_of AS MATERIALIZED (
        SELECT CASE WHEN CAST(:epoch AS bigint) > epoch - {KEPT_EPOCHS} AND CAST(:epoch AS bigint) <= epoch
            THEN CAST(:epoch AS bigint) ELSE epoch END AS epoch FROM instaveo_ranking
    ), page AS (
        SELECT video_id, score FROM instaveo_scores
        WHERE (score, video_id) < (CAST(:score AS float8), CAST(:video_id AS uuid))
            AND from_epoch <= (SELECT epoch FROM as_of) AND until_epoch > (SELECT epoch FROM as_of)
        ORDER BY score DESC, video_id DESC LIMIT :limit
    )
    SELECT (SELECT epoch FROM as_of) AS epoch, page.score, page.video_id, {COLUMNS},
        g.deleted_at IS NULL AND {PUBLIC} AS is_public
    FROM page {FOUND}
    ORDER BY page.score DESC, page.video_id DESC
""")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last place that was seen, of the feed as it was at an epoch."""

    epoch: int
    score: float
    video_id: UUID

    def encode(self) -> str:
        """Opaque, and safe in a query."""
        said = f"{self.epoch}.{self.score.hex()}.{self.video_id.hex}"
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, said: str) -> "Cursor":
        """Raises Invalid for what was not handed out."""
        try:
            if not _CURSOR.fullmatch(said):
                raise ValueError
            decoded = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)).decode("ascii")
            epoch, score, video_id = re.fullmatch(r"(\d{1,18})\.(-?0x[^/]+p[+-]\d+)\.([0-9a-f]{32})", decoded).groups()  # type: ignore[union-attr]
            cursor = cls(int(epoch), float.fromhex(score), UUID(video_id))
            if not math.isfinite(cursor.score) or cursor.encode() != said:
                raise ValueError
        except (ValueError, AttributeError, OverflowError) as error:
            raise Invalid("The cursor is not one that was handed out.") from error
        return cursor


@dataclass(frozen=True, slots=True)
class FeedPage:
    """`cursor` is None at the end."""

    videos: Sequence[Video]
    cursor: str | None


class Feed:
    """The query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, limit: int, cursor: str | None) -> FeedPage:
        """The best first. A cursor that is too old goes on in the feed as it is now. Raises Invalid."""
        after = Cursor.decode(cursor) if cursor else None
        values = {
            "epoch": after.epoch if after else None,
            "score": after.score if after else math.inf,
            "video_id": after.video_id if after else _HIGHEST,
            "limit": limit + 1,
        }
        async with self._database.statement() as connection:
            rows = (await connection.execute(PAGE, values)).all()
        shown = rows[:limit]
        last = Cursor(shown[-1].epoch, shown[-1].score, shown[-1].video_id).encode() if len(rows) > limit else None
        return FeedPage([video_of(row) for row in shown if row.is_public], last)

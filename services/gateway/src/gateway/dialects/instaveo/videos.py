"""Videos as viewers see them: the generation's own row and what the frontend keeps beside it, in one look.

Completed and published ones are everybody's, unless their owner has made their media private since; all others are
their owner's alone. The condition stands in the SQL.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Asset, Outcome, Visibility
from contracts.topology import outcome_subject
from gateway.commands import Commands
from gateway.refusals import NotFound
from runtime.broker import last_on
from runtime.database import Database, Row

MAX_LISTED = 200
"""In a list of one user's videos, the newest first."""

FOR_ALL = "g.particulars ->> 'visibility' IS DISTINCT FROM 'owner'"
PUBLIC = f"(v.is_published AND g.status = 'completed' AND {FOR_ALL})"
VISIBLE = f"g.deleted_at IS NULL AND (v.user_id = CAST(:viewer AS uuid) OR {PUBLIC})"
COLUMNS = """v.id, v.user_id, v.source_video_id, v.is_published, v.likes, v.dislikes, v.views, v.ranking_score,
    v.created_at, greatest(v.updated_at, g.completed_at) AS updated_at, c.username, g.prompt, g.status, g.completed_at,
    g.particulars ->> 'visibility' AS visibility, g.outcome::text AS outcome"""
TABLES = "instaveo_videos v JOIN generations g ON g.id = v.id LEFT JOIN instaveo_creators c ON c.id = v.user_id"
FOUND = "JOIN instaveo_videos v ON v.id = video_id" + TABLES.removeprefix("instaveo_videos v")
"""The same, for what names a `video_id`."""

_GET = text(f"SELECT {COLUMNS} FROM {TABLES} WHERE v.id = :id AND {VISIBLE}")
_OF_USER = text(f"""
    SELECT {COLUMNS} FROM {TABLES} WHERE v.user_id = :user_id AND {VISIBLE}
    ORDER BY v.created_at DESC, v.id DESC LIMIT :limit
""")
_LIKED = text(f"""
    SELECT {COLUMNS} FROM instaveo_reactions r {FOUND}
    WHERE r.user_id = :viewer AND r.reaction = 'like' AND {VISIBLE}
    ORDER BY r.created_at DESC, r.video_id DESC LIMIT :limit
""")
_PUBLISH = text(f"""
    UPDATE instaveo_videos v SET is_published = true, is_stale = true, updated_at = now()
    FROM generations g
    WHERE v.id = :id AND v.user_id = :user_id AND g.id = v.id AND g.deleted_at IS NULL AND {FOR_ALL}
    RETURNING v.id
""")


@dataclass(frozen=True, slots=True)
class Video:
    """One video, and the state of its generation."""

    id: UUID
    user_id: UUID
    source_video_id: UUID | None
    is_published: bool
    likes: int
    dislikes: int
    views: int
    ranking_score: float
    created_at: datetime
    updated_at: datetime
    username: str | None
    prompt: str
    status: str
    """The generation's."""
    completed_at: datetime | None
    visibility: Visibility
    """Who may look at the film."""
    outcome: Outcome | None

    @property
    def asset(self) -> Asset | None:
        """The film, once it is there."""
        assets = self.outcome.data.assets if self.outcome and self.status == "completed" else ()
        return assets[0] if assets else None


def video_of(row: Row) -> Video:
    return Video(
        id=row.id,
        user_id=row.user_id,
        source_video_id=row.source_video_id,
        is_published=row.is_published,
        likes=row.likes,
        dislikes=row.dislikes,
        views=row.views,
        ranking_score=row.ranking_score,
        created_at=row.created_at,
        updated_at=row.updated_at,
        username=row.username,
        prompt=row.prompt,
        status=row.status,
        completed_at=row.completed_at,
        visibility=Visibility(row.visibility or Visibility.PUBLIC),
        outcome=Outcome.decode(row.outcome.encode()) if row.outcome else None,
    )


class Videos:
    """What can be seen, published and looked after."""

    def __init__(self, database: Database, commands: Commands, broker: object) -> None:
        self._database = database
        self._commands = commands
        self._broker = broker

    async def get(self, video_id: UUID, viewer: UUID | None) -> Video:
        """Raises NotFound, for what the viewer may not see, too."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_GET, {"id": video_id, "viewer": viewer})).one_or_none()
        if row is None:
            raise NotFound("There is no such video.")
        return video_of(row)

    async def own(self, video_id: UUID, owner: UUID) -> Video:
        """Raises NotFound, for somebody else's published video, too."""
        video = await self.get(video_id, owner)
        if video.user_id != owner:
            raise NotFound("You have no such video.")
        return video

    async def of_user(self, user_id: UUID, viewer: UUID) -> list[Video]:
        """The newest first; somebody else's only where they are public."""
        values = {"user_id": user_id, "viewer": viewer, "limit": MAX_LISTED}
        async with self._database.statement() as connection:
            return [video_of(row) for row in await connection.execute(_OF_USER, values)]

    async def liked(self, viewer: UUID) -> list[Video]:
        """What a user likes and may see, the latest like first."""
        async with self._database.statement() as connection:
            return [video_of(row) for row in await connection.execute(_LIKED, {"viewer": viewer, "limit": MAX_LISTED})]

    async def publish(self, video_id: UUID, owner: UUID) -> Video:
        """Makes it public, at once or as soon as it is completed.

        Raises NotFound, for one whose film is its owner's alone, too: nobody would see it.
        """
        async with self._database.statement() as connection:
            found = (await connection.execute(_PUBLISH, {"id": video_id, "user_id": owner})).first()
        if found is None:
            await self.own(video_id, owner)
            raise NotFound("Nobody else may see this video: make it public first.")
        return await self.get(video_id, owner)

    async def fresh(self, video_id: UUID, owner: UUID) -> Video:
        """The owner's video as the log knows it: what was said a moment ago is recorded first. Raises NotFound."""
        video = await self.own(video_id, owner)
        if video.outcome is not None:
            return video
        said = await last_on(self._broker, outcome_subject(video_id), stream="OUTCOMES")  # type: ignore[arg-type]
        if said is None:
            return video
        await self._commands.settle([Outcome.decode(said)])
        return await self.own(video_id, owner)

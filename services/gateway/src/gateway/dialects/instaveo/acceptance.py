"""What is recorded with a new video, in its generation's own transaction: all of it, or nothing is accepted."""

import math
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from gateway.refusals import SignatureRefused, TooManyRequests
from gateway.settings import InstaveoSettings
from runtime.database import Connection

_SIGN = text("""
    INSERT INTO instaveo_signatures (signature, user_id, expires_at)
    VALUES (:signature, :user_id, now() + make_interval(secs => :kept_seconds))
    ON CONFLICT DO NOTHING RETURNING signature
""")
_COOL = text("""
    UPDATE instaveo_creators SET last_created_at = now(), last_active_at = now(), is_stale = true
    WHERE id = :user_id
        AND (CAST(:cooldown_seconds AS float8) = 0 OR last_created_at IS NULL
            OR last_created_at <= now() - make_interval(secs => :cooldown_seconds))
    RETURNING id
""")
_WAIT = text("""
    SELECT extract(epoch FROM last_created_at + make_interval(secs => :cooldown_seconds) - now())::float8
    FROM instaveo_creators WHERE id = :user_id
""")
# Whoever counts waits for those who count at the same time: the lock is let go with the transaction.
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtext('instaveo_queue'))")
_COUNT = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM generations WHERE dialect = 'instaveo' AND status IN ('pending', 'processing') LIMIT :most
    ) AS unfinished
""")
_RECORD = text("""
    INSERT INTO instaveo_videos (id, user_id, source_video_id, is_published)
    VALUES (:id, :user_id, :source_video_id, :is_published)
""")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One new video; `signature` is None where requests are not signed."""

    settings: InstaveoSettings
    user_id: UUID
    signature: str | None
    source_video_id: UUID | None = None

    async def __call__(self, connection: Connection, generation_id: UUID) -> None:
        """Records it.

        Raises:
            SignatureRefused: the same signature made a video already. TooManyRequests: too soon, or too many.
        """
        await self._sign(connection)
        await self._cool(connection)
        await self._queue(connection)
        values = {
            "id": generation_id,
            "user_id": self.user_id,
            "source_video_id": self.source_video_id,
            "is_published": self.settings.auto_publish,
        }
        await connection.execute(_RECORD, values)

    async def _sign(self, connection: Connection) -> None:
        if self.signature is None:
            return
        # A signature that is early by the whole tolerance is good for twice as long.
        kept_seconds = 2 * self.settings.request_signature_ttl_seconds + 1
        values = {"signature": self.signature, "user_id": self.user_id, "kept_seconds": kept_seconds}
        if (await connection.execute(_SIGN, values)).first() is None:
            raise SignatureRefused("This signature was used already: sign the request again.")

    async def _cool(self, connection: Connection) -> None:
        values = {"user_id": self.user_id, "cooldown_seconds": self.settings.video_creation_cooldown_seconds}
        if (await connection.execute(_COOL, values)).first() is None:
            seconds = max(1, math.ceil((await connection.execute(_WAIT, values)).scalar_one()))
            raise TooManyRequests(f"Please wait {seconds} s before the next video.", seconds)

    async def _queue(self, connection: Connection) -> None:
        most = self.settings.video_queue_maxsize
        if not most:
            return
        await connection.execute(_TAKE_TURNS)
        # Its own row is among them.
        if (await connection.execute(_COUNT, {"most": most + 1})).scalar_one() > most:
            pause = self.settings.video_status_poll_seconds
            raise TooManyRequests("Too many videos are being made right now; try again in a moment.", pause)

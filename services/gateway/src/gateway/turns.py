"""Whose turn it is: who waits for a slot, and what has not moved for too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Lane
from contracts.questions import (
    Plan,
)
from gateway.records import COLUMNS, Generation, generation_of
from gateway.settings import LimitSettings
from runtime.database import Connection

_LOCK_SLOT = text("SELECT taken, waiting FROM slots WHERE user_id = :user_id AND lane = :lane FOR UPDATE")
_COUNT = text("""
    SELECT count(*) FILTER (WHERE published) AS taken, count(*) FILTER (WHERE NOT published) AS waiting
    FROM generations WHERE user_id = :user_id AND lane = :lane AND status IN ('pending', 'processing')
""")
# A locked row is about to end, and whoever holds it wants the slot next: waiting for it would be a deadlock.
_ADMIT = text(f"""
    WITH next AS (
        SELECT id AS next_id FROM generations
        WHERE user_id = :user_id AND lane = :lane AND status = 'pending' AND NOT published AND cancel_asked_at IS NULL
        ORDER BY created_at, id LIMIT :free FOR UPDATE SKIP LOCKED
    )
    UPDATE generations SET published = true, deadline_at = now() + make_interval(secs => deadline_seconds),
        next_drive_at = now() + make_interval(secs => :first_drive_seconds)
    FROM next WHERE id = next_id RETURNING {COLUMNS}
""")
_AHEAD = text("""
    SELECT count(*) FROM generations WHERE user_id = :user_id AND lane = :lane AND status = 'pending'
        AND NOT published AND (created_at, id) < (:created_at, :id)
""")
_SET_SLOT = text("UPDATE slots SET taken = :taken, waiting = :waiting WHERE user_id = :user_id AND lane = :lane")


def slots_of(limits: LimitSettings, lane: Lane, plan: Plan) -> int:
    """How many of a user's generations may be at work in a lane."""
    if plan.concurrent is not None:
        return plan.concurrent
    return limits.interactive_slots if lane is Lane.INTERACTIVE else limits.batch_slots


async def admit(
    connection: Connection, user_id: UUID, lane: Lane, slots: int, first_drive_seconds: float
) -> list[Generation]:
    """Lets waiting generations of a user into free slots, oldest first; their deadline starts now.

    Counts the rows anew under the slot's lock, so that the counters heal should they ever be wrong.
    """
    who = {"user_id": user_id, "lane": lane.value}
    if (await connection.execute(_LOCK_SLOT, who)).one_or_none() is None:
        return []
    counted = (await connection.execute(_COUNT, who)).one()
    free = max(0, min(slots - counted.taken, counted.waiting))
    admitted = []
    if free:
        values = {**who, "free": free, "first_drive_seconds": first_drive_seconds}
        admitted = [generation_of(row) for row in await connection.execute(_ADMIT, values)]
    moved = len(admitted)
    await connection.execute(_SET_SLOT, {**who, "taken": counted.taken + moved, "waiting": counted.waiting - moved})
    return admitted


# By the counters and by the rows, should they differ; at random, so that none is always beyond the limit.
_WAITING_SLOTS = text("""
    SELECT user_id, lane FROM (
        SELECT user_id, lane FROM slots WHERE waiting > 0
        UNION SELECT user_id, lane FROM generations WHERE status = 'pending' AND NOT published
    ) AS waiting ORDER BY random() LIMIT :limit
""")


async def slots_with_waiters(connection: Connection, limit: int) -> list[tuple[UUID, Lane]]:
    return [(row.user_id, Lane(row.lane)) for row in await connection.execute(_WAITING_SLOTS, {"limit": limit})]


@dataclass(frozen=True, slots=True)
class Due:
    """An unfinished generation that has not moved for too long."""

    generation: Generation
    drives: int
    past_deadline: bool


# The next turn is set before anything is published: a crash in between costs one turn, never a storm.
_CLAIM_DUE = text(f"""
    WITH due AS (
        SELECT id AS due_id FROM generations
        WHERE status IN ('pending', 'processing') AND next_drive_at < now()
            AND (published OR cancel_asked_at IS NOT NULL)
            AND (CAST(:may_drive AS boolean) OR cancel_asked_at IS NOT NULL
                OR (deadline_at < now() AND drives >= CAST(:drives_before_deadline AS integer)))
        ORDER BY next_drive_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE generations SET next_drive_at = now() + (0.75 + random() / 2) * make_interval(secs =>
        CASE WHEN deadline_at < now() THEN :first_drive_seconds
        ELSE least(:longest_pause_seconds, :first_drive_seconds * 2 ^ least(drives + 1, 20)) END)
    FROM due WHERE id = due_id
    RETURNING {COLUMNS}, drives, deadline_at < now() AS past_deadline
""")
_COUNT_DRIVES = text("UPDATE generations SET drives = drives + 1 WHERE id = ANY(CAST(:ids AS uuid[]))")


async def claim_due(
    connection: Connection,
    limit: int,
    first_drive_seconds: float,
    longest_pause_seconds: float,
    drives_before_deadline: int,
    *,
    may_drive: bool,
) -> list[Due]:
    """Takes generations whose turn has come and sets their next turn, doubling, with jitter.

    Where nothing may be driven, only those that are to end: by a wish to cancel, or by their deadline.
    """
    values = {
        "may_drive": may_drive,
        "drives_before_deadline": drives_before_deadline,
        "limit": limit,
        "first_drive_seconds": first_drive_seconds,
        "longest_pause_seconds": longest_pause_seconds,
    }
    rows = await connection.execute(_CLAIM_DUE, values)
    return [Due(generation_of(row), row.drives, row.past_deadline) for row in rows]


async def count_drives(connection: Connection, ids: Sequence[UUID]) -> None:
    """A drive counts once the bus took it."""
    await connection.execute(_COUNT_DRIVES, {"ids": sorted(ids)})


async def ahead(connection: Connection, generation: Generation) -> int:
    """How many of a user's own wait for a slot before this one, which has none yet."""
    who = {"user_id": generation.user_id, "lane": generation.lane.value}
    values = {**who, "created_at": generation.created_at, "id": generation.id}
    found: int = (await connection.execute(_AHEAD, values)).scalar_one()
    return found

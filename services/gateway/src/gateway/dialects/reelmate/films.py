"""A user's films and the jobs that they come from, which are generations. Every statement names the owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Asset
from gateway.identity import Caller
from gateway.records import COLUMNS, Generation, generation_of
from runtime.database import Database

DIALECT = "reelmate"
MODEL = "darkroom-avatar"
State = Literal["pending", "processing", "completed", "failed", "cancelled"]
_OURS: dict[str, list[str]] = {"failed": ["failed", "declined"]}
"""Where one of the frontend's states is more than one of ours."""
_LAST_PERCENT = 95
"""What an estimate says at most of what has not ended."""

# The first line as the index of migration 0013 says it: otherwise it is not used.
_WHERE = """dialect = 'reelmate' AND user_id = :user_id AND kind = 'video' AND deleted_at IS NULL
    AND (CAST(:statuses AS text[]) IS NULL OR status = ANY (CAST(:statuses AS text[])))
    AND (CAST(:campaign AS text) IS NULL OR particulars->'remarks'->>'campaign_id' = :campaign)"""
_PAGE = text(f"""
    SELECT {COLUMNS} FROM generations WHERE {_WHERE} ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset
""")  # noqa: S608 - put together from constants
_COUNT = text(f"SELECT count(*) FROM generations WHERE {_WHERE}")  # noqa: S608
_GET = text(f"SELECT {COLUMNS} FROM generations WHERE {_WHERE} AND id = :id")  # noqa: S608
_ANY = {"statuses": None, "campaign": None}


class Films:
    """The films and what they need."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, caller: Caller, limit: int, offset: int, status: State | None, campaign_id: UUID | None
    ) -> tuple[list[Generation], int]:
        """The newest first, and how many there are in all."""
        values = {
            "user_id": caller.user_id,
            "statuses": _OURS.get(status, [status]) if status else None,
            "campaign": str(campaign_id) if campaign_id else None,
        }
        async with self._database.statement() as connection:
            total = (await connection.execute(_COUNT, values)).scalar_one()
            rows = (await connection.execute(_PAGE, values | {"limit": limit, "offset": offset})).all()
        return [generation_of(row) for row in rows], total

    async def get(self, caller: Caller, job_id: UUID) -> Generation | None:
        """None for somebody else's and for another dialect's."""
        async with self._database.statement() as connection:
            values = {**_ANY, "id": job_id, "user_id": caller.user_id}
            row = (await connection.execute(_GET, values)).one_or_none()
        return generation_of(row) if row else None


def film_of(generation: Generation) -> Asset | None:
    """What was delivered, if anything was."""
    if generation.status != "completed" or generation.outcome is None:
        return None
    return next(iter(generation.outcome.data.assets), None)


def state_of(generation: Generation) -> State:
    states: dict[str, State] = {
        "pending": "pending",
        "processing": "processing",
        "completed": "completed",
        "cancelled": "cancelled",
    }
    return states.get(generation.status, "failed")


def error_of(generation: Generation) -> str | None:
    """Why there is no film, where it was to have been."""
    if generation.outcome is None or generation.status == "completed":
        return None
    failure = generation.outcome.data.failure
    without = {"declined": "Not enough credits.", "cancelled": "The video was cancelled."}
    return failure.message if failure else without.get(generation.status, "The video was not made.")


@dataclass(frozen=True, slots=True)
class Estimate:
    """In percent, and in seconds; None where nothing is left to be estimated or nothing can be."""

    progress: int
    remaining_seconds: int | None


def estimate(generation: Generation, usual_seconds: int, now: datetime | None = None) -> Estimate:
    """How far a film is, by how long such films usually take."""
    if generation.status == "completed":
        return Estimate(100, 0)
    if generation.is_final:
        return Estimate(0, None)
    if generation.status == "pending":
        return Estimate(0, usual_seconds)
    gone = ((now or datetime.now(UTC)) - generation.created_at).total_seconds()
    left = max(1, usual_seconds - int(gone))
    return Estimate(max(1, min(_LAST_PERCENT, int(100 * gone / usual_seconds))), left)


def size_of(quality: str, ratio: str) -> str:
    """The size of a film of such a ratio: small where it is a draft."""
    sizes = {"9:16": ("720x1280", "1080x1920"), "16:9": ("1280x720", "1920x1080"), "1:1": ("1080x1080", "1080x1080")}
    return sizes[ratio][quality != "draft"]


def quality_of(word: str | None) -> Literal["draft", "standard", "high"]:
    """Of the frontend's words the nearest of what films are made in."""
    said = (word or "").lower()
    if said in {"draft", "low", "sd", "480p", "720p", "preview", "fast"}:
        return "draft"
    return "high" if said in {"high", "hd", "full_hd", "1080p", "ultra", "premium", "4k"} else "standard"


def only_completed(generations: Sequence[Generation]) -> list[tuple[Generation, Asset]]:
    return [(each, film) for each in generations if (film := film_of(each)) is not None]

"""What a user's credits went into: asked of the ledger, by page and by day (UTC)."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.facts import Kind
from contracts.model import Frozen
from contracts.money import Units

MAX_USAGE_ENTRIES = 500
MAX_USAGE_OFFSET = 10_000
MAX_USAGE_DAYS = 366


class UsageOf(Frozen):
    """A user's usage on the days (UTC) `since` to `until`, both included."""

    user_id: UUID
    since: date
    until: date
    limit: int = Field(default=100, ge=1, le=MAX_USAGE_ENTRIES)
    offset: int = Field(default=0, ge=0, le=MAX_USAGE_OFFSET)


class UsageEntry(Frozen):
    """What one generation took, or what was consumed without one (then it has neither kind nor model)."""

    at: AwareDatetime
    generation_id: UUID | None = None
    kind: Kind | None = None
    model: str | None = None
    state: Literal["open", "captured", "released", "declined", "expired", "consumed"]
    delivered: int = 0
    """Outputs that are paid for."""
    used: Units = 0
    reason: str | None = None


class UsageTotal(Frozen):
    """One day's use of one model; neither kind nor model for what was consumed without a generation."""

    day: date
    kind: Kind | None
    model: str | None
    number: int
    used: Units


class UsageReport(Frozen):
    """A page, newest first. `totals` and `total` (entries) are over all of the days."""

    entries: tuple[UsageEntry, ...]
    totals: tuple[UsageTotal, ...]
    total: int

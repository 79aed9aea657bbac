"""What a service tells of its own rows to whoever watches: the course of one generation, and how the house stands."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.model import Frozen
from contracts.money import Units

MAX_MOMENTS = 60
"""Of one generation, at one service."""
MAX_WATCHED_MINUTES = 24 * 60
MAX_WATCHED_ROWS = 20_000
"""That figures are made of: the latest ones, where there are more."""
MAX_LISTED = 20
"""Of what needs somebody's attention, the oldest first."""


class CourseOf(Frozen):
    """What does this service know of a generation? Whoever asks has made sure whose it is."""

    generation_id: UUID


class Moment(Frozen):
    """Something that a row remembers."""

    step: Literal["held", "settled", "attempt", "stored"]
    at: AwareDatetime
    ended_at: AwareDatetime | None = None
    state: str
    """As the row says it: a hold's, an attempt's, an asset's."""
    units: Units | None = None
    """What was held, or captured."""
    provider: str | None = None
    model: str | None = None
    number: int | None = None
    """Which attempt at its item, from 1; which asset, from 0."""
    code: str | None = None
    """Why an attempt failed."""


class Course(Frozen):
    """In the order of time; empty for what this service never saw."""

    moments: tuple[Moment, ...] = Field(default=(), max_length=MAX_MOMENTS)


class FiguresOf(Frozen):
    """How does this service stand, and what was done in the last minutes?"""

    minutes: int = Field(default=60, ge=1, le=MAX_WATCHED_MINUTES)


class OpenHold(Frozen):
    generation_id: UUID
    units: Units
    opened_at: AwareDatetime


class BookFigures(Frozen):
    """The ledger's. `captured` and the times are of the last minutes, the rest is now."""

    open_holds: int
    open_units: Units
    oldest: tuple[OpenHold, ...] = ()
    captured: Units
    """What users paid."""
    captures: int


class ProviderFigures(Frozen):
    """The attempts at one provider that began in the last minutes."""

    provider: str
    rendered: int
    failed: int
    unknown: int
    running: int
    p50_seconds: float | None
    p95_seconds: float | None
    """How long those took that were rendered."""
    cost_micros: int
    """What it charged, in millionths of a dollar, where that is known."""


class UnknownAttempt(Frozen):
    """Nobody knows whether it was paid."""

    id: UUID
    generation_id: UUID
    provider: str
    model: str | None
    began_at: AwareDatetime


class Breaker(Frozen):
    """A provider's model that is left alone for a while."""

    provider: str
    model: str
    open_until: AwareDatetime


class WorkFigures(Frozen):
    """The generator's."""

    open_work: int
    providers: tuple[ProviderFigures, ...] = ()
    unknown: tuple[UnknownAttempt, ...] = ()
    breakers: tuple[Breaker, ...] = ()

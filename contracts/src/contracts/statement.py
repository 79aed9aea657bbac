"""An account, entry by entry."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.model import Frozen
from contracts.money import Units

MAX_STATEMENT_ENTRIES = 500
"""On one page."""


class StatementOf(Frozen):
    """A page of a user's statement: at most `limit` entries that come after `cursor`."""

    user_id: UUID
    limit: int = Field(ge=1, le=MAX_STATEMENT_ENTRIES)
    cursor: str | None = None
    """As the page before gave it; None for the newest entries."""


class StatementEntry(Frozen):
    """What one generation, gift or payment did to a user's credits, in units.

    What a user has, held included and less what is owed, is all that was granted, less what was captured, plus what
    was refunded. What a payment brought, or took back, stands in `granted`.
    """

    at: AwareDatetime
    """When it was held, given, paid or consumed."""
    entry: Literal[
        "generation",
        "grant",
        "starting_grant",
        "monthly_grant",
        "consumed",
        "payment",
        "payment_reversal",
        "payment_restored",
    ]
    generation_id: UUID | None = None
    state: Literal["open", "captured", "released", "declined", "expired"] | None = None
    """Of the hold."""
    quote: Units = 0
    captured: Units = 0
    released: Units = 0
    refunded: Units = 0
    granted: Units = 0
    why: str = ""
    """For people."""


class Statement(Frozen):
    """Newest first. `cursor` leads to the next page; None at the end."""

    entries: tuple[StatementEntry, ...]
    cursor: str | None
    is_cursor_known: bool = True
    """Whether the cursor that was asked with is one that was handed out; there are no entries otherwise."""

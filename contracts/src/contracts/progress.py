"""How far a generation is: no fact, but a hint that may be lost."""

from uuid import UUID

from pydantic import Field

from contracts.model import Frozen

NUMBERS_PER_ATTEMPT = 1_000_000
"""Of progress: what a later attempt says is numbered after all that an earlier one said, and each begins with 1."""


class Progress(Frozen):
    """How far a generation is. Sent without a stream: lossy on purpose, numbered so that order can be restored."""

    generation_id: UUID
    number: int
    stage: str
    """`waiting`, `rendering` or `storing`."""
    percent: int = Field(ge=0, le=100)
    is_estimate: bool = False
    """Whether the percentage comes from how long this model usually takes, not from the provider."""
    remaining_seconds: int | None = None
    position: int | None = None
    """How many are before it, while it waits."""
    text: str | None = None
    """What was written since the number before; only for text."""
    picture: str | None = None
    """A picture as far as it has come, in base64; only where that was asked for."""
    picture_index: int | None = None
    """How many pictures were shown before it."""

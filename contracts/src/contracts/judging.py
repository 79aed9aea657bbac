"""What is asked of moderation beside a generation: may this be said?"""

from typing import Literal

from pydantic import Field

from contracts.model import Frozen

MAX_JUDGED_TEXTS = 32
"""In one question."""
MAX_JUDGED_CHARACTERS = 100_000
"""Of all of them together."""


class Moderate(Frozen):
    """Judge each of these texts; nothing is made, and nothing is charged."""

    texts: tuple[str, ...] = Field(min_length=1, max_length=MAX_JUDGED_TEXTS)


class Judgement(Frozen):
    """`scores`: by OpenAI's categories, 0 to 1; empty where it was not asked."""

    flagged: bool
    by: Literal["rules", "openai"] | None = None
    """Who flags it: the operator's rules, or OpenAI."""
    broken: tuple[str, ...] = ()
    """Which of OpenAI's categories; of the operator's rules nothing is said."""
    scores: dict[str, float] = {}


class Moderated(Frozen):
    """In the order of the texts; none where nobody can judge at the moment."""

    judgements: tuple[Judgement, ...] = ()

"""What is asked of moderation beside a generation: may this be said, may this film be shown?"""

from typing import Literal

from pydantic import Field

from contracts.facts import Failure
from contracts.model import Frozen

MAX_JUDGED_TEXTS = 32
"""In one question."""
MAX_JUDGED_CHARACTERS = 100_000
"""Of all of them together."""
MAX_JUDGED_FRAMES = 3
MAX_FRAME_BYTES = 200_000
"""Of one: all of them fit into one message."""


class Moderate(Frozen):
    """Judge each of these texts; nothing is made, and nothing is charged."""

    texts: tuple[str, ...] = Field(min_length=1, max_length=MAX_JUDGED_TEXTS)


class Category(Frozen):
    """One of OpenAI's categories, such as `violence` or `sexual/minors`."""

    name: str
    is_broken: bool
    score: float | None = None
    """How sure it is, 0 to 1."""


class Judgement(Frozen):
    """`by`: who flags it. Of the operator's rules nothing more is said; `categories` are empty where OpenAI was not
    asked."""

    flagged: bool
    by: Literal["rules", "openai"] | None = None
    categories: tuple[Category, ...] = ()


class Moderated(Frozen):
    """In the order of the texts; none where nobody can judge at the moment."""

    judgements: tuple[Judgement, ...] = ()


class JudgeFrames(Frozen):
    """May a film be shown in which this is seen? Storage asks, since it has the film; nothing is charged."""

    frames: tuple[str, ...] = Field(min_length=1, max_length=MAX_JUDGED_FRAMES)
    """JPEGs, as base64."""


class JudgedFrames(Frozen):
    """Why it must not be shown; None where it may."""

    failure: Failure | None = None

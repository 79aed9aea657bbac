"""What a film is to be made of."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from contracts.model import Frozen

PLAN = "plan.json"
FILM = "film.mp4"
MAX_PICTURES = 8
MAX_SECONDS = 300
"""Of one film."""

Quality = Literal["draft", "standard", "high"]


class Unusable(Exception):
    """No film can be made of this; the message says why, in plain words."""


class Plan(Frozen):
    """Files are named within the folder of the plan."""

    width: int = Field(ge=64, le=3840, multiple_of=2)
    height: int = Field(ge=64, le=3840, multiple_of=2)
    pictures: tuple[str, ...] = Field(min_length=1, max_length=MAX_PICTURES)
    """Shown one after the other, each for as long as the others."""
    sound: str
    """The film is as long as it."""
    script: str | None = None
    """What is said, to be shown while it is heard; None: nothing is written into the film."""
    quality: Quality = "standard"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises OSError, pydantic.ValidationError."""
        return cls.model_validate_json((folder / PLAN).read_bytes())

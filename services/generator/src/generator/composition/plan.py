"""What a film is to be made of."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

PLAN = "plan.json"
FILM = "film.mp4"
MAX_PICTURES = 8
LEAST_SIDE, MOST_SIDE = 64, 3840
"""Pixels of its width and of its height, both even."""
MAX_SECONDS = 300
"""Of one film."""

Quality = Literal["draft", "standard", "high"]


class Unusable(Exception):
    """No film can be made of this; the message says why, in plain words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Files are named within the folder of the plan. Only the generator writes plans, so nothing is checked here, and
    the process that reads one loads nothing for it."""

    width: int
    height: int
    pictures: Sequence[str]
    """Shown one after the other, each for as long as the others."""
    sound: str
    """The film is as long as it."""
    script: str | None = None
    """What is said, to be shown while it is heard; None: nothing is written into the film."""
    quality: Quality = "standard"

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        (folder / PLAN).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises OSError, ValueError."""
        return cls(**json.loads((folder / PLAN).read_bytes()))

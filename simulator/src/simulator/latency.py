"""How long a provider thinks about a picture: nothing, a fixed time, or lognormal as measured (providers.md §0.4)."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from random import Random

_NORMAL_95 = 1.645


@dataclass(frozen=True, slots=True)
class Spread:
    """The 5th and the 95th percentile, in seconds."""

    low: float
    high: float

    def draw(self, dice: Random) -> float:
        middle, reach = (log(self.low) + log(self.high)) / 2, (log(self.high) - log(self.low)) / 2
        return dice.lognormvariate(middle, reach / _NORMAL_95)


ARK_PICTURE = Spread(3, 15)
OPENAI_PICTURE = Spread(10, 60)
OPENAI_LOW_QUALITY = Spread(5, 15)
VIDEO_TASK = Spread(83, 253)
SPEECH = Spread(0.4, 3)
FIRST_TOKEN = Spread(0.3, 1.5)
MODERATION = Spread(0.1, 0.4)
SUBMISSION = Spread(0.1, 0.5)
"""To take a task; the task itself takes its own time."""


class Latency:
    """`mode` is `none`, `real` or a fixed number of seconds; `real` is multiplied by `scale`."""

    def __init__(self, mode: str, seed: int) -> None:
        self._start = (mode, seed)
        self.reset()

    def reset(self) -> None:
        mode, seed = self._start
        self._dice = Random(f"latency {seed}")
        self.set(mode)

    def set(self, mode: str, scale: float = 1.0) -> None:
        """Raises ValueError for a mode that is neither a word of the two nor a number of seconds."""
        self.fixed_seconds = None if mode in ("none", "real") else float(mode)
        if scale < 0 or (self.fixed_seconds is not None and not 0 <= self.fixed_seconds <= 3600):
            raise ValueError("latency lies between 0 and 3600 seconds")
        self.mode, self.scale = mode, scale

    def seconds(self, spread: Spread, draws: int = 1) -> float:
        """The time for `draws` pictures made one after the other."""
        if self.fixed_seconds is not None:
            return self.fixed_seconds
        if self.mode == "none":
            return 0.0
        return self.scale * sum(spread.draw(self._dice) for _ in range(draws))

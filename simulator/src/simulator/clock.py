"""The simulator's idea of now: the wall clock plus whatever an admin call advanced it by."""

from __future__ import annotations

import time


class Clock:
    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.offset_seconds

    def advance(self, seconds: float) -> None:
        self.offset_seconds += seconds

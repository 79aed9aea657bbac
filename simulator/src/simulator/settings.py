"""What one simulator is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`variants` pictures exist per prompt and size where no seed is given; successive calls walk through them."""

    host: str = "127.0.0.1"
    port: int = 0
    latency: str = "none"
    seed: int = 0
    journal: Path | None = None
    variants: int = 4

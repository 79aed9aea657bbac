"""What the rows of the table are made of: contestants that are measured in turns, and goals."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from bench.ground import Ground

OURS = "Darkroom"
ROUNDS, SHORT_ROUNDS = 3, 1

Figures = dict[str, float]
Round = Callable[[], Awaitable[Figures]]
"""Measures one contestant once; the same figures each time."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A contestant that cannot be had on this machine, and why."""

    why: str


Contestants = Mapping[str, Round | Missing]
"""By name, ours (`OURS`) first; the others are peers and limits."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What one of our figures should be: a bound of its own, or so many times another contestant's."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    of: str | None = None
    """Another contestant: the bounds are shares of its figure. None: they are values."""

    def value(self, medians: Mapping[str, Figures]) -> float | None:
        """What is compared with the bound; None where either was not measured."""
        ours = medians.get(OURS, {}).get(self.figure)
        if ours is None or self.of is None:
            return ours
        theirs = medians.get(self.of, {}).get(self.figure)
        return ours / theirs if theirs else None

    def is_met(self, value: float) -> bool:
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def text(self) -> str:
        bound = f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"
        return f"{bound} × {self.of}" if self.of else bound


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: who is compared at what, and what we want of it."""

    name: str
    title: str
    method: str
    """What is done and what is left out, in Markdown."""
    contestants: Callable[[Ground], AbstractAsyncContextManager[Contestants]]
    goals: Sequence[Goal] = ()
    figures: Sequence[str] = ()
    """Those that the table shows, in this order; whatever else is measured is in the raw results. Empty: all."""
    rounds: int = ROUNDS


async def measured(row: Row, ground: Ground) -> dict[str, Any]:
    """Runs the rounds of a row, everybody once in each, and returns them raw."""
    async with row.contestants(ground) as contestants:
        rounds: list[dict[str, Figures]] = []
        for _ in range(SHORT_ROUNDS if ground.short else row.rounds):
            measured_now = {}
            for name, run in contestants.items():
                if not isinstance(run, Missing):
                    measured_now[name] = await run()
            rounds.append(measured_now)
        missing = {name: run.why for name, run in contestants.items() if isinstance(run, Missing)}
    return {"rounds": rounds, "missing": missing}


def medians(rounds: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Of every contestant's every figure."""
    found: dict[str, Figures] = {}
    for name in rounds[0] if rounds else ():
        figures = rounds[0][name]
        found[name] = {figure: statistics.median(each[name][figure] for each in rounds) for figure in figures}
    return found

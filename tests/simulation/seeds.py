"""Running seeds: what each found, and those that are kept because they once found something."""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.simulation.checks import contradictions
from tests.simulation.world import NotCalm, World

KEPT = Path(__file__).with_name("kept_seeds.txt")
CHUNK = 50


def found_by(seed: int, bug: str | None = None) -> list[str]:
    """What one seed contradicts; nothing where all is well. The same seed finds the same."""
    try:
        return contradictions(World(seed, bug).run())
    except NotCalm as error:
        return [f"P1 never calm: {error}"]


def kept_seeds() -> list[int]:
    return [int(line) for line in KEPT.read_text().split()]


def keep(seeds: Iterable[int]) -> None:
    KEPT.write_text("".join(f"{seed}\n" for seed in sorted({*kept_seeds(), *seeds})))


def run(seeds: range, processes: int) -> Iterator[tuple[int, list[str]]]:
    """Every seed that found something, as soon as it did."""
    chunks = [range(start, min(start + CHUNK, seeds.stop)) for start in range(seeds.start, seeds.stop, CHUNK)]
    with ProcessPoolExecutor(processes) as pool:
        for found in pool.map(_chunk, chunks):
            yield from found


def _chunk(seeds: range) -> list[tuple[int, list[str]]]:
    return [(seed, found) for seed in seeds if (found := found_by(seed))]


def report(first: int, number: int, seconds: float) -> str:
    """Runs so many seeds for at most so long; words for people. Raises SystemExit where one failed."""
    began, done, failed = time.monotonic(), 0, {}
    while done < number and time.monotonic() - began < seconds:
        many = min(number - done, 1000)
        failed |= dict(run(range(first + done, first + done + many), os.cpu_count() or 1))
        done += many
    keep(failed)
    words = f"{done} seeds from {first} on in {time.monotonic() - began:.0f} s: {len(failed)} contradicted a promise"
    for seed, found in failed.items():
        words += f"\n{seed}: {'; '.join(found[:3])}"
    if failed or done < number:
        raise SystemExit(words)
    return words

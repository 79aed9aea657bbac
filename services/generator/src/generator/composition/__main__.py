"""`python -m generator.composition <folder> film|sound`: the process that makes one film, or takes the sound out of
one, and then ends.

It ends with 0, with `UNUSABLE` and the reason on its standard output, or otherwise where it broke or took too much. Its
standard input is a pipe that nobody writes to: it closes with the process that wants the result, however that ends, and
then this one ends as well.
"""

import os
import resource
import sys
import threading
from pathlib import Path

from generator.composition.extraction import extract
from generator.composition.film import compose
from generator.composition.plan import Unusable

UNUSABLE = 3
UNWANTED = 4
MEMORY_BYTES = 2 << 30
"""Of addresses, not of what is used: FFmpeg and its threads reserve far more than they touch."""
CPU_SECONDS = 1800
FILM_BYTES = 512 << 20
WORK = {"film": compose, "sound": extract}
NICENESS = 10
"""Whoever answers questions on the same processors comes first."""


def main(folder: Path, work: str) -> int:
    threading.Thread(target=_end_unwanted, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILM_BYTES, FILM_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        WORK[work](folder)
    except Unusable as reason:
        sys.stdout.write(str(reason))
        return UNUSABLE
    return 0


def _end_unwanted() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(UNWANTED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))

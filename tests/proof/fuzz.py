"""`make fuzz`: whatever the OpenAPI document allows and does not, of every dialect, with and without a token, by seed
after seed until the time is up. The suite does a few examples of each, always the same. A seed that finds something is
kept in kept_fuzz_seeds.txt, and those that are kept come first."""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "services/gateway/tests").glob("test_*_input.py"))
KEPT = Path(__file__).with_name("kept_fuzz_seeds.txt")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--minutes", type=float, default=30)
parser.add_argument("--seed", type=int, help="only this one, once")
parser.add_argument("--only", default="", help="only descriptions whose file has this in its name")


def kept_seeds() -> list[int]:
    return [int(line) for line in KEPT.read_text().split()]


def keep(seed: int) -> None:
    KEPT.write_text("".join(f"{known}\n" for known in sorted({*kept_seeds(), seed})))


def seeds(minutes: float) -> Iterator[int]:
    """Those that are kept, then new ones until the time is up."""
    give_up_at = time.monotonic() + minutes * 60
    yield from kept_seeds()
    yield random.getrandbits(32)
    while time.monotonic() < give_up_at:
        yield random.getrandbits(32)


def finds_something(seed: int, files: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
    environment = os.environ | {"FUZZ_SEED": str(seed)}
    return subprocess.run([*command, *files], cwd=ROOT, env=environment, check=False).returncode != 0


def main() -> int:
    options = parser.parse_args()
    files = [file for file in FILES if options.only in file]
    rounds = 0
    for seed in seeds(options.minutes) if options.seed is None else [options.seed]:
        if finds_something(seed, files):
            keep(seed)
            print(f"seed {seed} found something and is kept: python -m tests.proof.fuzz --seed {seed}")
            return 1
        rounds += 1
    print(f"{rounds} seeds over {len(files)} descriptions found nothing")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

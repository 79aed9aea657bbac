"""`make fuzz`: whatever the OpenAPI document allows and does not, of every dialect, with and without a token, by seed
after seed until the time is up. The suite does a few examples of each; a seed that finds something is said."""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "services/gateway/tests").glob("test_*_input.py"))

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--minutes", type=float, default=30)
parser.add_argument("--seed", type=int, help="only this one, once")


def main() -> int:
    options = parser.parse_args()
    give_up_at = time.monotonic() + options.minutes * 60
    rounds = 0
    while rounds == 0 or (options.seed is None and time.monotonic() < give_up_at):
        seed = options.seed if options.seed is not None else random.getrandbits(32)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
        ended = subprocess.run([*command, *FILES], cwd=ROOT, check=False)
        if ended.returncode:
            print(f"seed {seed} found something: python -m tests.proof.fuzz --seed {seed}")
            return 1
        rounds += 1
    print(f"{rounds} rounds over {len(FILES)} descriptions found nothing")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

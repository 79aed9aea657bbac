"""`python -m tests.simulation`: many seeds; those that find something are kept in kept_seeds.txt, which tests read."""

import argparse

from tests.simulation.seeds import report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seeds", type=int, default=10_000)
parser.add_argument("--first", type=int, default=0)
parser.add_argument("--seconds", type=float, default=300)

if __name__ == "__main__":
    options = parser.parse_args()
    print(report(options.first, options.seeds, options.seconds))

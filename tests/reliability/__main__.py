"""`python -m tests.reliability`: makes docs/reliability.md; with `--run`, runs all that the register names before."""

import argparse

from tests.reliability.faults import FAULTS
from tests.reliability.inputs import INPUTS
from tests.reliability.longer import LONGER
from tests.reliability.page import PAGE, page
from tests.reliability.planted import PLANTED
from tests.reliability.results import keep, kept, run

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", action="store_true")
parser.add_argument("--only", default="", help="only tests whose name has this in it")

if __name__ == "__main__":
    options = parser.parse_args()
    nodes = [test for entry in (*FAULTS, *INPUTS, *LONGER, *PLANTED) for test in entry.tests if options.only in test]
    results = keep(run(nodes)) if options.run else kept()
    PAGE.write_text(page(results))
    raise SystemExit(any(count.get("failed") for count in results.counted.values()))

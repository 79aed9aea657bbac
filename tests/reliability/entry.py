"""One row of the page."""

import re
from dataclasses import dataclass

FOLDERS = {
    "gateway": "services/gateway/tests",
    "generator": "services/generator/tests",
    "ledger": "services/ledger/tests",
    "storage": "services/storage/tests",
    "runtime": "runtime/tests",
    "contracts": "contracts/tests",
    "darkroom": "darkroom/tests",
    "chaos": "tests/chaos",
    "whole": "tests/whole",
    "proof": "tests/proof",
    "simulation": "tests/simulation",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What comes, what is expected, and who shows it: `gateway/cancel::cancelling_twice_is_the_same_as_once`."""

    number: str
    what: str
    expected: str
    shown_by: tuple[str, ...]
    but: str = ""
    """What is not shown, in words."""

    @property
    def id(self) -> str:
        """The number and the expected outcome, as a test is called."""
        return f"{self.number}-{re.sub('[^a-z0-9]+', '-', self.expected.lower()).strip('-')}"

    @property
    def tests(self) -> tuple[str, ...]:
        """As pytest names them, without parameters."""
        return tuple(map(node_of, self.shown_by))


def node_of(short: str) -> str:
    """`gateway/cancel::x` is `services/gateway/tests/test_cancel.py::test_x`."""
    place, _, test = short.partition("::")
    package, _, module = place.partition("/")
    # What only `make proof` runs is in files that are not collected by themselves.
    file = f"{FOLDERS[package]}/{module}.py" if package == "proof" else f"{FOLDERS[package]}/test_{module}.py"
    return f"{file}::test_{test}"

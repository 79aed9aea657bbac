"""docs/reliability.md is what the register and the last run make, and the register names tests that are there."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.reliability.entry import Entry
from tests.reliability.faults import FAULTS
from tests.reliability.inputs import INPUTS
from tests.reliability.longer import LONGER
from tests.reliability.page import PAGE, _ended, page
from tests.reliability.planted import PLANTED
from tests.reliability.results import ROOT, Results, counted_in, kept
from tests.simulation.bugs import BUGS

JUNIT = """<testsuites><testsuite>
<testcase file="a/test_a.py" name="test_x[1]" /><testcase file="a/test_a.py" name="test_x[2]"><failure /></testcase>
<testcase file="a/test_a.py" name="test_y"><skipped /></testcase>
</testsuite></testsuites>"""


def test_the_page_is_what_the_register_and_the_last_run_make() -> None:
    assert PAGE.read_text() == page(kept()), "python -m tests.reliability"


@pytest.mark.parametrize("entry", [*FAULTS, *INPUTS, *LONGER, *PLANTED], ids=lambda entry: entry.id)
def test_what_is_expected_is_shown_by_tests_that_are_there(entry: Entry) -> None:
    assert entry.tests
    for node in entry.tests:
        file, _, name = node.partition("::")
        assert f"def {name}(" in Path(ROOT / file).read_text(), node


def test_every_number_has_its_row() -> None:
    assert [entry.number for entry in FAULTS] == [f"F{number}" for number in range(1, 41)]
    assert [entry.number for entry in INPUTS] == [f"B{number}" for number in range(1, 49)]


def test_every_bug_of_the_simulation_is_on_the_page() -> None:
    assert {bug.name for bug in BUGS} <= {entry.expected for entry in PLANTED}


def test_the_page_hides_nothing() -> None:
    results = Results("", counted_in(ET.fromstring(JUNIT)))
    assert results.counted == {"a/test_a.py::test_x": {"passed": 1, "failed": 1}, "a/test_a.py::test_y": {"skipped": 1}}
    assert _ended(["a/test_a.py::test_x"], results) == "**failed 1**, passed 1"
    assert _ended(["a/test_a.py::test_y", "a/test_a.py::test_z"], results) == "**skipped 1**, **not run 1**"

"""The pages of the dialects name tests that are there, and every line of a seed names one or says that it is open."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/dialects").glob("*.md"))
NAMED = re.compile(r"`((?:tests|services|runtime|contracts|darkroom|simulator)/[\w/]+\.py)(?:::(\w+))?`")
LEAST_ROWS = 60
LEAST_ROWS_OF = {"replicate": 30, "fal": 25}
"""Of APIs that have no seed: their clients are small."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_named_test_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or (test and not _defines((ROOT / file).read_text(), test))
    ]
    assert missing == []


def _defines(source: str, test: str) -> bool:
    return f"def {test}(" in source or f"class {test}(" in source


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_line_of_a_seed_names_a_test_or_is_open(page: Path) -> None:
    lines = page.read_text().splitlines()
    tables = [(line, after) for line, after in pairwise(lines) if line.startswith("| ") and "---" not in line]
    rows = [line for line, after in tables if not after.startswith("| ---")]
    assert len(rows) > LEAST_ROWS_OF.get(page.stem, LEAST_ROWS)
    assert [row for row in rows if not NAMED.search(row) and "| open" not in row] == []

"""docs/promises.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_named_test_exists() -> None:
    page = (ROOT / "docs/promises.md").read_text()
    named = re.findall(r"`((?:tests|services|runtime|contracts|darkroom)/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 40
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or (test and f"def {test}(" not in (ROOT / file).read_text())
    ]
    assert missing == []

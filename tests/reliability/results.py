"""How the named tests ended the last time: run by pytest, read from its JUnit file, kept beside the page."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "reliability-results.json"
Counted = dict[str, dict[str, int]]
"""By node id without parameters: how many of its cases `passed`, `failed` or were `skipped`."""


@dataclass(frozen=True, slots=True)
class Results:
    """`day` is when they ran, in UTC."""

    day: str
    counted: Counted

    def of(self, node: str) -> dict[str, int]:
        return self.counted.get(node, {})


def kept() -> Results:
    read = json.loads(KEPT.read_text())
    return Results(read["day"], read["tests"])


def keep(counted: Counted) -> Results:
    """What ran replaces what was known of it; the rest stays as it was."""
    before = kept().counted if KEPT.exists() else {}
    results = Results(f"{datetime.now(UTC):%Y-%m-%d}", dict(sorted({**before, **counted}.items())))
    KEPT.write_text(json.dumps({"day": results.day, "tests": results.counted}, indent=1) + "\n")
    return results


def run(nodes: Iterable[str]) -> Counted:
    """Runs these tests, in the order of their files, and counts how they ended."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "junit.xml"
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", f"--junitxml={written}"]
        subprocess.run([*command, *sorted(set(nodes))], cwd=ROOT, check=False)
        print(f"{time.monotonic() - began:.0f} s")
        return counted_in(ET.parse(written).getroot())


def counted_in(junit: ET.Element) -> Counted:
    counted: Counted = {}
    for case in junit.iter("testcase"):
        node = f"{case.get('file')}::{(case.get('name') or '').partition('[')[0]}"
        tags = {child.tag for child in case}
        ended = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        counts = counted.setdefault(node, {})
        counts[ended] = counts.get(ended, 0) + 1
    return counted

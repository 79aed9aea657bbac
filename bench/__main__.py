"""`make bench`: measures the rows, prints the table, keeps the raw results, and writes docs/performance.md anew.

`--only NAME` measures some rows, `--short` each as briefly as shows that it works; neither touches the page.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench import RESULTS
from bench.ground import Ground
from bench.page import FSYNC, PAGE, lines_of, write
from bench.rows import ROWS
from bench.table import OURS, Row, measured

WIDTH = 200
"""Of the table where no terminal says its own."""


def machine() -> dict[str, Any]:
    """What it ran on, and how busy that was."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "load_before": os.getloadavg()[0],
        "data_on": _file_system(Path(tempfile.gettempdir()).resolve()),
    }


def _processor() -> str:
    """As Linux names it: what a figure is compared with has to come from the same kind."""
    said = Path("/proc/cpuinfo").read_text()
    named = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", said, re.MULTILINE))
    return ", ".join(f"{name} {what}" for name, what in named.items()) or platform.machine()


def _file_system(folder: Path) -> str:
    """Its kind: in memory (`tmpfs`) nothing is waited for, and nothing is kept."""
    mounted = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    return next(mounted[each] for each in (folder, *folder.parents) if each in mounted)


async def measure(rows: Sequence[Row], folder: Path, *, short: bool, say: Console) -> dict[str, Any]:
    """The document that is kept: every figure of every round."""
    document: dict[str, Any] = {"machine": machine(), "short": short, "fsync": FSYNC, "rows": []}
    async with Ground(folder, short=short) as ground:
        for row in rows:
            began = time.monotonic()
            try:
                found = await measured(row, ground)
            except Exception as error:
                # Minutes of other rows were not for nothing; the table says aloud what is not there.
                found = {"rounds": [], "missing": {OURS: f"the row broke off: {type(error).__name__}: {error}"[:300]}}
                say.print_exception()
            seconds = time.monotonic() - began
            document["rows"].append({"name": row.name, "seconds": round(seconds, 1), **found})
            show(row, document["rows"][-1], say)
    document["load_after"] = os.getloadavg()[0]
    return document


def show(row: Row, found: dict[str, Any], say: Console) -> None:
    head, *body = lines_of(row, found)
    table = Table(*head, title=f"{row.title} ({row.name}, {found['seconds']:.0f} s)")
    for line in body:
        table.add_row(*line)
    say.print(table)
    for name, why in found["missing"].items():
        say.print(f"[bold red]LEFT OUT[/]: {name}: {why}")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that whoever was started is stopped
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS])
    parser.add_argument("--short", action="store_true")
    asked = parser.parse_args()
    say = Console(width=None if sys.stdout.isatty() else WIDTH)
    rows = [row for row in ROWS if asked.only is None or row.name in asked.only]
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        document = asyncio.run(measure(rows, Path(folder), short=asked.short, say=say))
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / time.strftime("table-%Y-%m-%dT%H%M%S.json")
    kept.write_text(json.dumps(document, indent=1) + "\n")
    say.print(f"kept in {kept}")
    if asked.only is None and not asked.short:
        write([kept], PAGE)
    sys.exit(any(not found["rounds"] for found in document["rows"]))


if __name__ == "__main__":
    main()

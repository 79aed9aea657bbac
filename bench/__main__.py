"""`make bench`: prints the table and keeps the figures in bench/results/."""

import argparse
import asyncio
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.load import TIMEOUT_SECONDS, Client, percentile
from bench.stack import Stack, running

RESULTS = Path(__file__).parent / "results"
MODEL, SIZE = "dall-e-2", "512x512"
"""Answers with an address of a PNG of about 64 KB."""
AT_ONCE = 32
"""As many submitters as the peers in their benchmarks were measured with."""
OUTSIDE = {"simulator", "supervisor"}
"""The provider's side of the wire, and what only starts the others."""
GOALS = {
    "warm start to ready, s": 10,
    "memory at rest, MB": 700,
    "one at a time, p50 ms": 30,
    "one at a time, p99 ms": 90,
    "5 a second, p50 ms": 30,
    "5 a second, p99 ms": 90,
    "CPU-s per 1 000": 15,
}


async def measure(stack: Stack, requests: int) -> dict[str, Any]:
    """Latencies, rate and CPU-seconds of the main job on a running stack."""
    memory = stack.memory_megabytes()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(session, stack.url, MODEL, SIZE)
        await client.sustained(max(20, requests // 10), 4)  # fills caches and pools
        single = await client.one_by_one(requests // 2)
        paced = await client.open_loop(max(20, requests // 10), 5)
        before = stack.cpu_seconds()
        rate = await client.sustained(requests, AT_ONCE)
        after = stack.cpu_seconds()
    cpu = {part: 1000 * (after[part] - before.get(part, 0)) / requests for part in after}
    return {
        "rows": {
            "memory at rest, MB": sum(memory.values()),
            "one at a time, p50 ms": percentile(single, 0.5),
            "one at a time, p99 ms": percentile(single, 0.99),
            "5 a second, p50 ms": percentile(paced, 0.5),
            "5 a second, p99 ms": percentile(paced, 0.99),
            f"generations/s, {AT_ONCE} at once": rate,
            "CPU-s per 1 000": sum(seconds for part, seconds in cpu.items() if part not in OUTSIDE),
        },
        "cpu_seconds_per_1000": cpu,
        "memory_megabytes": memory,
        "requests": requests,
    }


def run(requests: int) -> dict[str, Any]:
    """Starts a stack twice, the second time warm, and measures it."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        data = Path(folder) / "data"
        with running(data) as cold:
            cold_seconds = cold.ready_seconds
        with running(data) as stack:
            measured = asyncio.run(measure(stack, requests))
            starts = {"cold start to ready, s": cold_seconds, "warm start to ready, s": stack.ready_seconds}
    measured["rows"] = starts | measured["rows"]
    return measured


def show(measured: dict[str, Any]) -> None:
    table = Table("", "measured", "goal", title=f"{MODEL} {SIZE}, {measured['requests']} requests")
    for row, value in measured["rows"].items():
        goal = GOALS.get(row)
        table.add_row(row, f"{value:.1f}", "" if goal is None else f"≤ {goal}")
    parts = Table("part", "CPU-s per 1 000", "MB at rest")
    for part, seconds in sorted(measured["cpu_seconds_per_1000"].items()):
        parts.add_row(part, f"{seconds:.2f}", f"{measured['memory_megabytes'].get(part, 0):.0f}")
    console = Console()
    console.print(table)
    console.print(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    measured = run(parser.parse_args().requests)
    show(measured)
    RESULTS.mkdir(exist_ok=True)
    measured |= {"machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()

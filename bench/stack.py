"""A stack of its own for measuring, and what its processes use."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.processes import proportional_megabytes

READY_SECONDS = 180
STOP_SECONDS = 30
GENEROUS = {"DEFAULT_USER_CREDITS": "1000000", "GATEWAY_REQUESTS_PER_MINUTE": "1000000", "GATEWAY_LOG_LEVEL": "INFO"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: what `darkroom up` wrote, and how long it took to be ready."""

    known: dict[str, Any]
    supervisor: psutil.Process
    ready_seconds: float

    @property
    def url(self) -> str:
        return str(self.known["url"])

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Every process of the stack by its part, forked children included; the simulator and the supervisor apart."""
        named = {int(pid): name for name, pid in self.known["pids"].items()}
        parts: dict[str, list[psutil.Process]] = {"supervisor": [self.supervisor]}
        for child in self.supervisor.children():
            parts.setdefault(named.get(child.pid, "other"), []).extend([child, *child.children(recursive=True)])
        return parts

    def cpu_seconds(self) -> dict[str, float]:
        """User and system seconds so far, of each part."""
        return {part: sum(map(_cpu_seconds, processes)) for part, processes in self.processes().items()}

    def memory_megabytes(self) -> dict[str, float]:
        """Proportional set size of each part: shared pages are counted once."""
        return {part: proportional_megabytes(processes) for part, processes in self.processes().items()}


@contextmanager
def running(data: Path | None = None, *, s3: bool = False, **environment: str) -> Iterator[Stack]:
    """`darkroom up` with its data in a folder that goes away, or in the given one; media in files, or in a real S3."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        data = data or Path(folder)
        ready_file = Path(folder) / "ready.json"
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "darkroom", "up", "--data", str(data), "--ready-file", str(ready_file)]
            + ["--s3"] * s3,
            env={**os.environ, **GENEROUS, **environment},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                    raise RuntimeError(f"the stack did not become ready (exit {process.poll()}); see {data}/logs")
                time.sleep(0.02)
            known = json.loads(ready_file.read_text())
            yield Stack(known, psutil.Process(process.pid), time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)

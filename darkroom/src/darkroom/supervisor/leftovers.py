"""Processes of a supervisor that was killed: usually ending just now, and in the way until they have."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

END_SECONDS = 6.0
CLOCK_TOLERANCE_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.05


def end_leftovers(former: Mapping[str, Any], written: Path, end_seconds: float = END_SECONDS) -> None:
    """Waits so long for the former processes to end, then asks them to, then kills them.

    On Linux they end with their parent. Elsewhere they do not know that it died.
    """
    left = _former_processes(former.get("pids", {}), written)
    for insist in (None, psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            if insist is not None:
                with contextlib.suppress(psutil.Error):
                    insist(process)
        give_up_at = time.monotonic() + end_seconds
        while (left := [process for process in left if _alive(process)]) and time.monotonic() < give_up_at:
            time.sleep(_LOOK_EVERY_SECONDS)


def _former_processes(pids: Mapping[str, int], written: Path) -> list[psutil.Process]:
    """Those that existed when the file was written: a younger process only happens to have the same number."""
    found = []
    for name, pid in pids.items():
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if name != "supervisor" and process.create_time() <= written.stat().st_mtime + CLOCK_TOLERANCE_SECONDS:
                found.append(process)
    return found


def _alive(process: psutil.Process) -> bool:
    """A zombie is not: who reaps an orphan is up to the machine."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False

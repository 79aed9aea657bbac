"""What is done to whoever is measured."""

import os
import sys
from pathlib import Path

import psutil

from bench.processes import on_one_core, process

THREADED = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); print(flush=True)"


def test_everybody_is_on_one_core_and_then_where_they_were(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    with process([sys.executable, "-c", THREADED], tmp_path / "log") as started:
        while not (tmp_path / "log").read_bytes():
            assert started.is_running()
        with on_one_core():
            assert {frozenset(found) for found in _threads(started)} == {frozenset({max(cores)})}
            assert os.sched_getaffinity(0) == {max(cores)}
        assert [*_threads(started), os.sched_getaffinity(0)] == [cores] * 3


def _threads(started: psutil.Process) -> list[set[int]]:
    return [os.sched_getaffinity(thread.id) for thread in started.threads()]

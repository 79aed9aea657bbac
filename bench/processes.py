"""Processes of whoever is measured: how they start, answer and end, and what they use."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

import aiohttp
import psutil

READY_SECONDS = 240
STOP_SECONDS = 30


class NotAnsweringError(RuntimeError):
    """Somebody was started and does not answer."""


@contextlib.contextmanager
def process(command: Sequence[object], log: Path, **environment: str) -> Iterator[psutil.Process]:
    """A process of a contestant, with what it says in a file; it ends with the block."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [str(part) for part in command],
            env={**own_environment(), **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        try:
            started.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def own_environment() -> dict[str, str]:
    """Without what makes every start compile every module again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def answering(url: str, seconds: float = READY_SECONDS, running: Iterable[psutil.Process] = ()) -> None:
    """Waits until an address answers 200.

    Raises:
        NotAnsweringError: one of those who run has ended, or the time is over.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + seconds
    async with aiohttp.ClientSession() as session:
        while loop.time() < give_up_at:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            if any(not _runs(each) for each in running):
                break
            await asyncio.sleep(0.1)
    raise NotAnsweringError(f"started, and {url} does not answer")


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """User and system seconds of them and of whom they started."""
    used = 0.0
    for each in family(processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def memory_megabytes(processes: Iterable[psutil.Process]) -> float:
    """Proportional set size of them and of whom they started: shared pages are counted once."""
    return proportional_megabytes(family(processes))


def proportional_megabytes(processes: Iterable[psutil.Process]) -> float:
    """Of these and of nobody else."""
    used = 0.0
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            used += each.memory_full_info().pss / 2**20
    return used


def family(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {one.pid: one for one in (each, *each.children(recursive=True))}
    return list(found.values())


@contextlib.asynccontextmanager
async def session_of(connections: int = 64) -> AsyncIterator[aiohttp.ClientSession]:
    """The one HTTP client with which everybody is asked."""
    timeout = aiohttp.ClientTimeout(total=READY_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=timeout) as session:
        yield session

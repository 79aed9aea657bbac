"""Child processes in which a stranger's bytes are decoded and encoded, each under limits of its own.

They are started when first needed and ended when nobody needs them, so that an idle service stays small. Each has one
piece of work at a time: a bomb takes its own process with it, and nobody else's work.
"""

import asyncio
import ctypes
import multiprocessing
import os
import resource
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from storage.pictures import Unusable

PROCESSES = 2
IDLE_SECONDS = 60.0
CPU_SECONDS = 10
"""For one picture."""
RECORDING_CPU_SECONDS = 120
"""For one video: a minute of 1080p is scaled in less."""
START_SECONDS = 20
PATIENCE = 3
"""So many times its CPU time a piece of work may take by the clock, on a machine that others use as well."""
MEMORY_BYTES = 1 << 30
"""Of address space for one process; a picture of the largest size takes about half."""
RETURNED_BYTES = 1 << 20
"""What is larger goes back to the system when it is let go, so that a process does not grow from work to work."""
_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h."""

T = TypeVar("T")


class Workshop:
    """Does pieces of work, a few at a time."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._processes = [_Process(memory_bytes) for _ in range(PROCESSES)]
        self._free = list(self._processes)
        self._places = asyncio.Semaphore(PROCESSES)
        self._closing: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self) -> AsyncIterator["Place"]:
        """A process to work in, to be taken before what is worked on is read into memory."""
        async with self._places:
            if self._closing is not None:
                self._closing.cancel()
            process = self._free.pop()  # the one that was used last, which may still run
            try:
                yield Place(process, self._cpu_seconds)
            finally:
                self._free.append(process)
                self._closing = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._rest)

    def close(self) -> None:
        """What was begun is finished."""
        if self._closing is not None:
            self._closing.cancel()
        for process in self._processes:
            process.close()

    def _rest(self) -> None:
        for process in self._free:
            process.close()


@dataclass(frozen=True, slots=True)
class Place:
    """A process that works for nobody else meanwhile."""

    process: "_Process"
    cpu_seconds: int

    async def do(self, function: Callable[..., T], *arguments: object, cpu_seconds: int | None = None) -> T:
        """What a function of some module returns.

        Raises:
            storage.pictures.Unusable: and what else the function raises; also where it takes too much time or memory.
        """
        return await self.process.do(cpu_seconds or self.cpu_seconds, function, *arguments)


class _Process:
    """One child process, there when it is needed."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._pool: ProcessPoolExecutor | None = None

    async def do(self, cpu_seconds: int, function: Callable[..., T], *arguments: object) -> T:
        try:
            running = self._open().submit(_work, cpu_seconds, function, *arguments)
        except BrokenProcessPool:  # it died while it had nothing to do: that says nothing of this piece of work
            self.kill()
            running = self._open().submit(_work, cpu_seconds, function, *arguments)
        try:
            async with asyncio.timeout(START_SECONDS + PATIENCE * cpu_seconds):
                return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            self.kill()  # its files are closed next, and their numbers are those of somebody else's then
            raise
        except (BrokenProcessPool, MemoryError, TimeoutError):
            self.kill()
            raise Unusable("the content takes too much time or memory") from None

    def _open(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, _begin, (self._memory_bytes,))
        return self._pool

    def kill(self) -> None:
        # The public way to end a child that hangs comes with Python 3.14.
        for child in list(self._pool._processes.values()) if self._pool is not None else ():
            child.kill()
        self.close()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None


def _begin(memory_bytes: int) -> None:
    # The pipe that work comes by is open at both ends in the child: it would wait for ever for whoever was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_memory(memory_bytes)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit_memory(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))
    with suppress(AttributeError):  # only glibc keeps what it was given back, and only there it can be told not to
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, RETURNED_BYTES)


def _work(cpu_seconds: int, function: Callable[..., T], *arguments: object) -> T:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_seconds, hard))
    return function(*arguments)

"""Child processes in which pictures are made smaller: a stranger's bytes are decoded there under limits of their own.

They are started when first needed and ended when nobody needs them, so that an idle service stays small.
"""

import asyncio
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from storage.pictures import Unusable, shrink

PROCESSES = 2
IDLE_SECONDS = 60.0
CPU_SECONDS = 10
"""For one picture."""
MEMORY_BYTES = 1 << 30
"""Of address space for one process; a picture of the largest size takes about half."""


class Workshop:
    """Makes pictures smaller, a few at a time."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, cpu_seconds: int = CPU_SECONDS) -> None:
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._pool: ProcessPoolExecutor | None = None
        self._places = asyncio.Semaphore(PROCESSES)
        self._closing: asyncio.TimerHandle | None = None

    @property
    def places(self) -> asyncio.Semaphore:
        """To be held while working, from before the picture is read into memory."""
        return self._places

    async def shrink(self, content: bytes, longest_side: int) -> bytes:
        """As `pictures.shrink`; a picture that takes too much time or memory is Unusable, too."""
        if self._closing is not None:
            self._closing.cancel()
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(PROCESSES, context, _limit_memory, (self._memory_bytes,))
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _shrink, content, longest_side, self._cpu_seconds
            )
        except (BrokenProcessPool, MemoryError):
            self.close()
            raise Unusable("the picture takes too much time or memory") from None
        finally:
            self._closing = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)

    def close(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False)  # what was begun is finished
            self._pool = None


def _limit_memory(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))


def _shrink(content: bytes, longest_side: int, cpu_seconds: int) -> bytes:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_seconds, hard))
    return shrink(content, longest_side)

"""What keeps work alive: leases are renewed while it runs, and what nobody works on is taken over.

With this no acknowledged message is ever needed again: an open row is found by whoever looks next.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from generator.catalog import Catalog
from generator.generate import Generator
from generator.work import Lease, Work
from runtime.consumption import RETRY_IN_PLACE_SECONDS, SHUTDOWN_GRACE_SECONDS
from runtime.health import is_transient
from runtime.telemetry import trace_id

DUE_EVERY_SECONDS = 2.0
DUE_ROWS = 50
CATALOG_EVERY_SECONDS = 10.0

log = structlog.get_logger()


class Leases:
    """The loops of one process. `capacity` is how many generations it works on at most before it takes over more."""

    def __init__(self, work: Work, generator: Generator, catalog: Catalog, capacity: int) -> None:
        self._work = work
        self._generator = generator
        self._catalog = catalog
        self._capacity = capacity
        self._loops: list[asyncio.Task[None]] = []
        self._taken: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        self._stopping = False
        for name, action, every_seconds in (
            ("renew leases", self.renew, self._work.lease_seconds / 3),
            ("take due work", self.take_due, DUE_EVERY_SECONDS),
            ("read catalog", self._catalog.refresh, CATALOG_EVERY_SECONDS),
        ):
            self._loops.append(asyncio.create_task(self._repeat(name, action, every_seconds), name=name))

    async def drain(self) -> None:
        """Takes nothing over any more and lets what was taken over finish; leases are renewed until `stop`."""
        self._stopping = True
        if self._taken:
            await asyncio.wait(self._taken, timeout=SHUTDOWN_GRACE_SECONDS)
        taken = list(self._taken)
        for task in taken:
            task.cancel()
        await asyncio.gather(*taken, return_exceptions=True)

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()

    async def renew(self) -> None:
        """Prolongs what this process works on, and stops what it lost or what was ended elsewhere."""
        fences = self._generator.fences
        if not fences:
            return
        for generation_id in await self._work.renew(fences):
            self._generator.stop(generation_id)

    async def take_due(self) -> None:
        """Takes over what waits: a lease ran out, or a pause is over."""
        running = self._generator.running
        room = min(DUE_ROWS, self._capacity - len(running))
        if self._stopping or room <= 0:
            return
        for lease in await self._work.take_due(room, running):
            task = asyncio.create_task(self._carry_on(lease), name=f"due {lease.request.generation_id}")
            self._taken.add(task)
            task.add_done_callback(self._taken.discard)

    async def _carry_on(self, lease: Lease) -> None:
        """Waits in place while a dependency is away, as a message would."""
        request = lease.request
        structlog.contextvars.bind_contextvars(generation_id=str(request.generation_id), trace_id=trace_id(lease))
        pauses = iter(RETRY_IN_PLACE_SECONDS)
        step: Callable[[], Awaitable[None]] = partial(self._generator.take_over, lease)
        while True:
            try:
                return await step()
            except Exception as error:
                if not is_transient(error) or self._stopping:
                    log.exception("generation.left", error=repr(error))
                    return None
                log.warning("generation.waits_for_dependency", error=repr(error))
            await asyncio.sleep(next(pauses, RETRY_IN_PLACE_SECONDS[-1]))
            step = partial(self._generator.generate, request, lease.traceparent)

    async def _repeat(self, name: str, action: Callable[[], Awaitable[None]], every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await action()
            except Exception as error:
                log.warning("loop.failed", loop=name, error=repr(error))

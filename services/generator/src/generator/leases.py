"""What keeps work alive: leases are renewed while it runs, and what nobody works on is taken over.

With this no acknowledged message is ever needed again: an open row is found by whoever looks next.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from generator.course import Course
from generator.drive import WAITING_LEASES
from generator.follow import Follower
from generator.generate import Generator
from generator.stopping import Stopper
from generator.work import Lease, Work
from runtime.consumption import RETRY_IN_PLACE_SECONDS, SHUTDOWN_GRACE_SECONDS
from runtime.health import is_transient
from runtime.telemetry import trace_id

DUE_EVERY_SECONDS = 2.0
DUE_ROWS = 50
ABANDONED_EVERY_SECONDS = 10.0
RENEWED_TOGETHER = 1000
CATALOG_EVERY_SECONDS = 10.0
READ_AGAIN_SECONDS = 2.0
"""After a first reading for which the database was away."""

log = structlog.get_logger()


class Shared(Protocol):
    """Something that all processes share, as one of them last read it."""

    async def refresh(self) -> None: ...


class Leases:
    """The loops of one process. `shared` is read again and again; `capacity` is how many generations it works on at
    most of those that it took over, beside what it was handed."""

    def __init__(
        self,
        work: Work,
        generator: Generator,
        follower: Follower,
        stopper: Stopper,
        shared: Sequence[Shared],
        capacity: int,
    ) -> None:
        self._work = work
        self._generator = generator
        self._follower = follower
        self._stopper = stopper
        self._shared = shared
        self._capacity = capacity
        self._loops: list[asyncio.Task[None]] = []
        self._taken: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        self._stopping = False
        self._follower.start(self.go_on)
        lease_seconds = self._work.lease_seconds
        for name, action, every_seconds in (
            ("renew leases", self.renew, lease_seconds / 3),
            ("renew leases of tasks", self.renew_waiting, WAITING_LEASES * lease_seconds / 3),
            ("take due work", self.take_due, DUE_EVERY_SECONDS),
            ("read what is shared", self.refresh, CATALOG_EVERY_SECONDS),
        ):
            self._loops.append(asyncio.create_task(self._repeat(name, action, every_seconds), name=name))
        self._loops.append(asyncio.create_task(self._stop_abandoned(), name="stop abandoned tasks"))

    async def drain(self) -> None:
        """Takes nothing over any more and lets what is at work finish; leases are renewed until `stop`."""
        self._stopping = True
        await self._follower.stop()
        if self._taken:
            await asyncio.wait(self._taken, timeout=SHUTDOWN_GRACE_SECONDS)
        taken = list(self._taken)
        for task in taken:
            task.cancel()
        await asyncio.gather(*taken, return_exceptions=True)
        await self._stopper.drain()

    async def stop(self) -> None:
        """Ends the loops. What is only followed is given back: others follow it at once."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()
        followed = list(self._follower.fences)
        for generation_id in followed:
            self._follower.drop(generation_id)
        if followed:
            try:
                await self._work.release(followed)
            except Exception as error:
                log.warning("tasks.not_released", error=repr(error))

    async def read(self) -> None:
        """Nothing is begun before this: what is forbidden, whose own key asks, who is limited or left alone. As long
        as the database is away it is waited for."""
        while True:
            if await self.refresh():
                return
            await asyncio.sleep(READ_AGAIN_SECONDS)

    async def refresh(self) -> bool:
        """Reads what all processes share, each by itself: where one cannot be read, the others are. Whether no
        dependency was away."""
        is_there = True
        for each in self._shared:
            try:
                await each.refresh()
            except Exception as error:
                is_there = is_there and not is_transient(error)
                log.warning("refresh.failed", what=type(each).__name__.lower(), error=repr(error))
        return is_there

    async def renew(self) -> None:
        """Prolongs what this process works on, and stops what it lost or what was ended elsewhere."""
        began_at, held = time.monotonic(), self._generator.fences
        lost = await self._renew(held, self._work.lease_seconds)
        self._work.renewed_at = dict.fromkeys(held.keys() - lost, began_at)

    async def renew_waiting(self) -> None:
        """The same for what is only followed: there is much of it, so its leases last longer."""
        await self._renew(self._follower.fences, self._work.lease_seconds * WAITING_LEASES)

    async def _renew(self, fences: dict[UUID, int], lease_seconds: float) -> set[UUID]:
        """Those that are lost."""
        held, lost = list(fences.items()), set()
        for start in range(0, len(held), RENEWED_TOGETHER):
            some = dict(held[start : start + RENEWED_TOGETHER])
            for generation_id in await self._work.renew(some, lease_seconds):
                self._generator.stop(generation_id)
                lost.add(generation_id)
        return lost

    async def take_due(self) -> None:
        """Takes over what waits: a lease ran out, or a pause is over."""
        room = min(DUE_ROWS, self._capacity - len(self._taken))
        if self._stopping or room <= 0:
            return
        for lease in await self._work.take_due(room, [*self._generator.running, *self._follower.fences]):
            self._carry_on(lease, partial(self._generator.take_over, lease))

    def go_on(self, course: Course) -> None:
        """Goes on with a generation of which a task has ended."""
        self._carry_on(course.lease, partial(self._generator.go_on, course))

    async def stop_abandoned(self) -> None:
        """Stops tasks whose generations have their outcome."""
        await self._stopper.sweep()

    async def _stop_abandoned(self) -> None:
        """At once where this process heard the outcome, and again and again for what others left behind."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ABANDONED_EVERY_SECONDS):
                    await self._generator.interrupted.wait()
            self._generator.interrupted.clear()
            try:
                await self.stop_abandoned()
            except Exception as error:
                log.warning("loop.failed", loop="stop abandoned tasks", error=repr(error))

    def _carry_on(self, lease: Lease, step: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._insist(lease, step), name=f"due {lease.request.generation_id}")
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)

    async def _insist(self, lease: Lease, step: Callable[[], Awaitable[None]]) -> None:
        """Waits in place while a dependency is away, as a message would."""
        request = lease.request
        structlog.contextvars.bind_contextvars(generation_id=str(request.generation_id), trace_id=trace_id(lease))
        pauses = iter(RETRY_IN_PLACE_SECONDS)
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

    async def _repeat(self, name: str, action: Callable[[], Awaitable[object]], every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await action()
            except Exception as error:
                log.warning("loop.failed", loop=name, error=repr(error))

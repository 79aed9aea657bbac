"""The use case: a funded generation becomes rendered, written or failed, and every attempt is paid once.

On the way without trouble the database is asked twice: one statement takes the lease and writes the intents, one
records the results. A provider that answers with a task costs one more, and nothing while it is waited for.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from contracts.facts import Ending, Failure, Outcome, Rendering, Request
from generator.announcements import Announcer
from generator.attempts import Attempt
from generator.catalog import Catalog, Model
from generator.course import Course
from generator.drive import Conclusion, Driver
from generator.follow import Follower
from generator.work import Lease, Work

FINISH_SECONDS = 3.0
"""Whoever asks for a text's end waits for one: later nobody hears the answer, and others may ask."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Running:
    """A generation that this process works on. `fence` is 0 until its lease is there."""

    fence: int = 0
    task: asyncio.Task[Conclusion] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once this process has nothing to do with it any more."""


class Generator:
    """Generations at work in this process."""

    def __init__(self, work: Work, catalog: Catalog, driver: Driver, follower: Follower, announcer: Announcer) -> None:
        self._work = work
        self._catalog = catalog
        self._driver = driver
        self._follower = follower
        self._announcer = announcer
        self._running: dict[UUID, _Running] = {}
        self.interrupted = asyncio.Event()
        """Set when an outcome has ended what was still at work, perhaps at a provider."""

    @property
    def fences(self) -> dict[UUID, int]:
        """The leases of what is worked on; those of what is followed are the follower's."""
        return {generation_id: running.fence for generation_id, running in self._running.items() if running.task}

    @property
    def running(self) -> list[UUID]:
        return list(self._running)

    async def generate(self, request: Request, traceparent: str | None) -> None:
        """Renders what was funded, unless somebody is at it; says again what was said where it is done.

        Returns as soon as nothing is left but to wait for the provider's tasks.

        Raises:
            OSError, nats.errors.Error, sqlalchemy.exc.DBAPIError: a dependency is away; do it again.
        """
        generation_id = request.generation_id
        if generation_id in self._running or generation_id in self._follower:
            return
        with self._registered(generation_id) as running:
            model = await self._catalog.find(request)
            first: Sequence[Attempt] | Failure = ()
            new = request.reuse is None  # else nothing is begun before it is known whether there is something already
            if isinstance(model, Model) and new:
                first = await self._driver.admission.first(request, model)
            async with contextlib.AsyncExitStack() as unmade:
                unmade.push_async_callback(self._driver.admission.give_back, request, first)
                lease = await self._work.claim(request, traceparent, () if isinstance(first, Failure) else first)
                if lease is not None and lease.fresh:
                    unmade.pop_all()
            if lease is None:
                await self._say_again(request, traceparent)
                return
            if not lease.fresh:
                model = await self._catalog.find(request, is_begun=True)
            await self._conclude(
                running, lease, self._driver.begin(lease, model, first if lease.fresh and new else None)
            )

    async def take_over(self, lease: Lease) -> None:
        """Goes on with a generation whose lease was just taken."""
        generation_id = lease.request.generation_id
        if generation_id in self._running or generation_id in self._follower:
            return
        with self._registered(generation_id) as running:
            log.info("generation.taken_over", fence=lease.fence)
            model = await self._catalog.find(lease.request, is_begun=True)
            await self._conclude(running, lease, self._driver.begin(lease, model, None))

    async def go_on(self, course: Course) -> None:
        """Goes on with a generation of which a task has ended."""
        with self._registered(course.generation_id) as running:
            await self._conclude(running, course.lease, self._driver.go_on(course))

    async def close(self, outcomes: Sequence[Outcome]) -> None:
        """Records outcomes and stops what still runs for them here; other processes find out when they renew."""
        if await self._work.close(outcomes):
            self.interrupted.set()
        for outcome in outcomes:
            self.stop(outcome.data.generation_id)

    def stop(self, generation_id: UUID) -> None:
        """Ends the work on a generation whose lease is lost or whose outcome is there."""
        self._follower.drop(generation_id)
        running = self._running.get(generation_id)
        if running is not None and running.task is not None:
            running.task.cancel()

    async def finish_text(self, generation_id: UUID) -> bool | None:
        """Ends a text with what was said of it, and returns once its outcome was said; False where nothing was said of
        it, so that there is nothing to deliver; None where this process does not work on it, or cannot say so in time.
        """
        running = self._running.get(generation_id)
        if running is None:
            return None
        if not self._driver.texts.cut(generation_id):
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await running.over.wait()
                return True
        return None

    @contextlib.contextmanager
    def _registered(self, generation_id: UUID) -> Iterator[_Running]:
        """Only one task of this process touches a generation."""
        running = self._running[generation_id] = _Running()
        try:
            yield running
        finally:
            if self._running.get(generation_id) is running:
                del self._running[generation_id]
                self._driver.texts.forget(generation_id)
            running.over.set()

    async def _conclude(self, running: _Running, lease: Lease, work: Coroutine[Any, Any, Conclusion]) -> None:
        """Works until there is something to say, and says it. The work is a task of its own, so that it can be stopped
        without stopping whoever holds the message."""
        running.fence = lease.fence
        running.task = asyncio.create_task(work)
        try:
            conclusion = await running.task
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.info("generation.stopped")
            return
        running.task = None
        await self._say(conclusion, lease.traceparent)

    async def _say(self, conclusion: Conclusion, traceparent: str | None) -> None:
        if isinstance(conclusion, Rendering):
            await self._announcer.rendered(conclusion, traceparent)
        elif isinstance(conclusion, Ending):
            kept, is_ours = await self._announcer.ended(conclusion, traceparent)
            await self._work.close([kept])
            code = conclusion.failure.code if conclusion.failure else None
            log.info(f"generation.{conclusion.verdict}", code=code, won=is_ours)

    async def _say_again(self, request: Request, traceparent: str | None) -> None:
        """The fact that a finished generation ended with, for those who have not heard it."""
        found = await self._work.look(request.generation_id)
        if found is None or found.state == "open":
            return
        if found.outcome is not None:
            await self._announcer.outcome(request.generation_id, found.outcome)
            return
        await self._say(await self._driver.said_again(request, found), traceparent)

"""Tasks that nobody waits for any more: their generation has its outcome, or another attempt has their place, and their
provider is still at work."""

import asyncio
import time

import structlog

from contracts.facts import Request
from generator.about import LOOK_TIMEOUT_SECONDS
from generator.attempts import CANCELLED, Attempt, State
from generator.catalog import Catalog, Model
from generator.course import Assignment
from generator.providers.interface import Task
from generator.submit import Submitter
from generator.work import Work

ROWS = 100
AT_ONCE = 8
GIVE_UP_SECONDS = 3600.0
"""A provider that does not answer for so long is not asked to stop any more."""

log = structlog.get_logger()


class Stopper:
    """Cancels abandoned tasks where their provider can. The rows say which they are, so any process may do it, and
    doing it twice is harmless."""

    def __init__(self, work: Work, catalog: Catalog, submitter: Submitter) -> None:
        self._work = work
        self._catalog = catalog
        self._submitter = submitter
        submitter.on_late = self._stop_late

    async def sweep(self) -> None:
        """Asks for some of them once."""
        room = asyncio.Semaphore(AT_ONCE)

        async def stop(request: Request, attempt: Attempt) -> None:
            async with room:
                await self._stop(request, attempt)

        found = await self._work.abandoned(ROWS)
        await asyncio.gather(*(stop(request, attempt) for request, attempt in found))

    async def drain(self) -> None:
        """Lets calls that were cut off tell which task they began."""
        await self._submitter.drain()

    async def _stop(self, request: Request, attempt: Attempt) -> None:
        model = await self._catalog.find(request, is_begun=True)
        ended: Attempt | None = attempt.ended(State.UNKNOWN, CANCELLED)
        if isinstance(model, Model):
            assignment = Assignment(request, None, model, time.monotonic() + LOOK_TIMEOUT_SECONDS)
            stopped = await self._submitter.cancel(assignment, attempt, CANCELLED)
            too_late = time.monotonic() - attempt.begun_at > GIVE_UP_SECONDS
            ended = stopped or (ended if too_late else None)
        if ended is not None:
            await self._work.record_stopped(ended)
            log.info("task.stopped", attempt_id=str(attempt.id), provider=attempt.provider, state=ended.state)

    async def _stop_late(self, attempt: Attempt, task: Task) -> None:
        """A call that was answered after its generation was stopped here."""
        if await self._work.record_late(attempt, task):
            await self.sweep()

"""The use case: a funded generation becomes rendered, or failed, and every attempt is paid once.

On the way without trouble the database is asked twice: one statement takes the lease and writes the intents, one
records the results. Whatever else happens, what follows is decided from the rows (`attempts.standing`), so a
generation can be left at any line and taken up by another process.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

from contracts.facts import (
    CONTENT_TYPE,
    Ending,
    Failure,
    Outcome,
    Output,
    Progress,
    Rendered,
    Rendering,
    Request,
    Verdict,
)
from contracts.topology import outcome_subject, progress_subject, rendered_subject
from generator.attempts import (
    DEADLINE,
    INTERRUPTED,
    LEAST_SECONDS,
    NOT_SENT,
    Attempt,
    Standing,
    State,
    first_attempts,
    standing,
)
from generator.catalog import Catalog, Model
from generator.submit import Assignment, Submitter, insist
from generator.work import Lease, Work
from runtime.broker import connected, publish, publish_unique
from runtime.health import is_transient
from runtime.telemetry import current_traceparent

SOURCE = "generator"
WAIT_IN_PLACE_SECONDS = 3.0
"""A longer pause before the next attempt is waited for in the row, and whoever is free then goes on."""
PAUSE_AFTER_DEFECT_SECONDS = 10.0
_STEP_PERCENT = (10, 90)

log = structlog.get_logger()


@dataclass(slots=True)
class _Running:
    """A generation that this process works on. `fence` is 0 until its lease is there."""

    fence: int = 0
    task: asyncio.Task["Rendering | Failure | None"] | None = None


@dataclass(slots=True)
class _Progress:
    """The attempts of one lease, as far as this process knows them."""

    lease: Lease
    assignment: Assignment | None
    """None where the model cannot be had (any more)."""
    attempts: dict[UUID, Attempt] = field(default_factory=dict)

    def put(self, attempts: Iterable[Attempt]) -> None:
        self.attempts.update((attempt.id, attempt) for attempt in attempts)

    @property
    def ended(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.state is not State.INTENT]

    def standing(self) -> Standing:
        """Nothing is tried again where the pause before would be longer than what is left."""
        policy = self.assignment.model.unknown_policy if self.assignment else "fail"
        found = standing(self.attempts.values(), policy)
        if self.assignment is not None and self.assignment.remaining_seconds - found.pause_seconds > LEAST_SECONDS:
            return found
        return standing(self.attempts.values(), policy, time_left=False)


class _LeaseLost(Exception):
    """Somebody else works on it now, or it has an outcome: stop, and say nothing."""


class Generator:
    """Generations at work in this process."""

    def __init__(self, work: Work, catalog: Catalog, submitter: Submitter, broker: NatsBroker) -> None:
        self._work = work
        self._catalog = catalog
        self._submitter = submitter
        self._broker = broker
        self._running: dict[UUID, _Running] = {}

    @property
    def fences(self) -> dict[UUID, int]:
        """The leases that this process holds."""
        return {generation_id: running.fence for generation_id, running in self._running.items() if running.task}

    @property
    def running(self) -> list[UUID]:
        return list(self._running)

    async def generate(self, request: Request, traceparent: str | None) -> None:
        """Renders what was funded, unless somebody is at it; says again what was said where it is done.

        Raises:
            OSError, nats.errors.Error, sqlalchemy.exc.DBAPIError: a dependency is away; do it again.
        """
        if request.generation_id in self._running:
            return
        with self._registered(request.generation_id) as running:
            model = await self._catalog.find(request)
            first: Sequence[Attempt] = ()
            if isinstance(model, Model):
                first = self._first(request, model)
            lease = await self._work.claim(request, traceparent, first)
            if lease is None:
                await self._say_again(request, traceparent)
                return
            await self._conclude(running, lease, model, first if lease.fresh else None)

    async def take_over(self, lease: Lease) -> None:
        """Goes on with a generation whose lease was just taken."""
        generation_id = lease.request.generation_id
        if generation_id in self._running:
            return
        with self._registered(generation_id) as running:
            log.info("generation.taken_over", fence=lease.fence)
            await self._conclude(running, lease, await self._catalog.find(lease.request), None)

    async def close(self, outcomes: Sequence[Outcome]) -> None:
        """Records outcomes and stops what still runs for them here; other processes find out when they renew."""
        await self._work.close(outcomes)
        for outcome in outcomes:
            self.stop(outcome.data.generation_id)

    def stop(self, generation_id: UUID) -> None:
        """Ends the work on a generation whose lease is lost or whose outcome is there."""
        running = self._running.get(generation_id)
        if running is not None and running.task is not None:
            running.task.cancel()

    # -- one lease --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _registered(self, generation_id: UUID) -> Iterator[_Running]:
        """Only one task of this process touches a generation."""
        running = self._running[generation_id] = _Running()
        try:
            yield running
        finally:
            del self._running[generation_id]

    async def _conclude(
        self, running: _Running, lease: Lease, model: Model | Failure, first: Sequence[Attempt] | None
    ) -> None:
        """Works until there is something to say, and says it. The work is a task of its own, so that it can be stopped
        without stopping whoever holds the message."""
        running.fence = lease.fence
        running.task = asyncio.create_task(self._drive(lease, model, first))
        try:
            conclusion = await running.task
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.info("generation.stopped")
            return
        running.task = None
        if isinstance(conclusion, Rendering):
            await self._say_rendered(conclusion, lease.traceparent)
        elif isinstance(conclusion, Failure):
            await self._say_failed(lease, conclusion)

    async def _drive(
        self, lease: Lease, model: Model | Failure, first: Sequence[Attempt] | None
    ) -> Rendering | Failure | None:
        """Works on a generation as long as it is ours; None where it is left to others or to a later time."""
        assignment = None
        if isinstance(model, Model):
            give_up_at = time.monotonic() + lease.remaining_seconds
            assignment = Assignment(lease.request, lease.traceparent, model, give_up_at)
        progress = _Progress(lease, assignment)
        try:
            if first is None:
                await self._take_stock(progress)
            else:
                progress.put(first)
            now = await self._pursue(progress)
            if now is None:
                return None
            if now.delivered:
                return await self._finish(progress, now)
            refusal = model if isinstance(model, Failure) else DEADLINE
            return now.outputs[0].failure if now.outputs else refusal
        except _LeaseLost:
            log.info("generation.lease_lost", fence=lease.fence)
            return None
        except BaseException as error:
            pause_seconds = (
                PAUSE_AFTER_DEFECT_SECONDS if isinstance(error, Exception) and not is_transient(error) else 0
            )
            await self._let_go(progress, pause_seconds)
            raise

    async def _take_stock(self, progress: _Progress) -> None:
        """What was tried before us. Of an intent whose process is gone nobody knows whether it was sent."""
        for attempt in await self._work.attempts(progress.lease.request.generation_id):
            unsent = attempt.process == self._work.process and not self._submitter.may_have_sent(attempt)
            if attempt.state is State.INTENT and not unsent:
                log.warning("attempt.unknown", attempt_id=str(attempt.id), provider=attempt.provider)
                progress.put([attempt.ended(State.UNKNOWN, INTERRUPTED)])
            else:
                progress.put([attempt])
        begun: Sequence[Attempt] = ()
        assignment = progress.assignment
        if not progress.attempts and assignment is not None and assignment.remaining_seconds > LEAST_SECONDS:
            begun = self._first(assignment.request, assignment.model)
            progress.put(begun)
        await self._save(progress, begun)

    async def _pursue(self, progress: _Progress) -> Standing | None:
        """Rounds of attempts until nothing is left to be tried; None where the next one must wait for long."""
        while True:
            now = progress.standing()
            if not now.again or progress.assignment is None:
                if not now.delivered:
                    await self._save(progress)
                return now
            going = [attempt for attempt in now.again if attempt.state is State.INTENT]
            tired = [attempt for attempt in now.again if attempt.state is not State.INTENT]
            if now.pause_seconds > WAIT_IN_PLACE_SECONDS:
                await self._save(progress, release=True, pause_seconds=now.pause_seconds)
                log.info("generation.waits", seconds=round(now.pause_seconds, 1))
                return None
            if now.pause_seconds > 0:
                await self._save(progress)
                await asyncio.sleep(now.pause_seconds)
            if tired:
                begun = [attempt.next(progress.lease.request.generation_id, self._work.process) for attempt in tired]
                await self._save(progress, begun)
                progress.put(begun)
                going += begun
            await self._round(progress, progress.assignment, going)

    async def _round(self, progress: _Progress, assignment: Assignment, going: Sequence[Attempt]) -> None:
        """Makes these attempts at the same time and records each that ends while others still run."""
        await self._tell(progress)
        if len(going) == 1:
            progress.put([await self._submitter.submit(assignment, going[0])])
            return
        pending = {asyncio.create_task(self._submitter.submit(assignment, attempt)) for attempt in going}
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                progress.put(task.result() for task in done)
                if pending:
                    await self._save(progress)
                    await self._tell(progress)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _finish(self, progress: _Progress, now: Standing) -> Rendering:
        await self._save(progress, state="rendered", release=True)
        request = progress.lease.request
        log.info(
            "generation.rendered",
            model=request.model,
            attempts=len(progress.attempts),
            delivered=sum(output.failure is None for output in now.outputs),
        )
        return _rendering(request, progress.attempts, now)

    async def _save(
        self,
        progress: _Progress,
        begun: Sequence[Attempt] = (),
        *,
        state: str = "open",
        release: bool = False,
        pause_seconds: float = 0.0,
    ) -> None:
        """Records what ended and what begins. Raises _LeaseLost."""
        lease, ended = progress.lease, progress.ended

        async def save() -> bool:
            return await self._work.save(lease, ended, begun, state=state, release=release, pause_seconds=pause_seconds)

        give_up_at = progress.assignment.give_up_at if progress.assignment else time.monotonic()
        if not await insist(save, give_up_at):
            raise _LeaseLost
        self._submitter.forget(ended)

    async def _let_go(self, progress: _Progress, pause_seconds: float) -> None:
        """Hands the lease back, at a shutdown or after a defect: what was sent and not answered is unknown."""
        progress.put(
            attempt.ended(State.UNKNOWN, INTERRUPTED)
            if self._submitter.may_have_sent(attempt)
            else attempt.ended(State.FAILED, NOT_SENT)
            for attempt in list(progress.attempts.values())
            if attempt.state is State.INTENT
        )
        ended = progress.ended
        try:
            kept = await self._work.save(progress.lease, ended, release=True, pause_seconds=pause_seconds)
        except Exception as error:
            log.warning("generation.not_released", error=repr(error))
            return
        if kept:
            self._submitter.forget(ended)
        log.info("generation.released" if kept else "generation.lease_lost")

    def _first(self, request: Request, model: Model) -> list[Attempt]:
        return first_attempts(
            request.generation_id, request.count, model.max_per_submission, model.offer.provider, self._work.process
        )

    # -- saying it --------------------------------------------------------------------------------------------

    async def _say_again(self, request: Request, traceparent: str | None) -> None:
        """The fact that a finished generation ended with, for those who have not heard it."""
        found = await self._work.look(request.generation_id)
        if found is None or found.state == "open":
            return
        if found.outcome is not None:
            await self._publish_outcome(request.generation_id, found.outcome)
            return
        attempts = {attempt.id: attempt for attempt in await self._work.attempts(request.generation_id)}
        now = standing(attempts.values(), "fail", time_left=False)
        await self._say_rendered(_rendering(request, attempts, now), traceparent)

    async def _say_rendered(self, rendering: Rendering, traceparent: str | None) -> None:
        await publish(
            self._broker,
            rendered_subject(rendering.request),
            Rendered.of(rendering, SOURCE, current_traceparent(traceparent)).encode(),
            stream="GENERATION",
            content_type=CONTENT_TYPE,
        )

    async def _say_failed(self, lease: Lease, failure: Failure) -> None:
        generation_id = lease.request.generation_id
        ending = Ending(generation_id=generation_id, verdict=Verdict.FAILED, failure=failure)
        ours = Outcome.of(ending, SOURCE, current_traceparent(lease.traceparent))
        kept = Outcome.decode(await self._publish_outcome(generation_id, ours.encode()))
        await self._work.close([kept])
        log.info("generation.failed", code=failure.code, won=kept.id == ours.id)

    async def _publish_outcome(self, generation_id: UUID, outcome: bytes) -> bytes:
        return await publish_unique(
            self._broker, outcome_subject(generation_id), outcome, stream="OUTCOMES", content_type=CONTENT_TYPE
        )

    async def _tell(self, progress: _Progress) -> None:
        """Lossy on purpose; numbered by the percentage, which only grows."""
        done = sum(attempt.state is State.RENDERED for attempt in progress.attempts.values())
        items = len({attempt.item for attempt in progress.attempts.values()})
        low, high = _STEP_PERCENT
        percent = low + (high - low) * done // max(1, items)
        generation_id = progress.lease.request.generation_id
        told = Progress(generation_id=generation_id, number=percent, stage="rendering", percent=percent)
        if connected(self._broker):
            with contextlib.suppress(NatsError, OSError):
                await self._broker.connection.publish(progress_subject(generation_id), told.model_dump_json().encode())


def _rendering(request: Request, attempts: Mapping[UUID, Attempt], now: Standing) -> Rendering:
    provider = next(attempt.provider for attempt in attempts.values())
    outputs: tuple[Output, ...] = tuple(sorted(now.outputs, key=lambda output: output.index))
    return Rendering(request=request, provider=provider, outputs=outputs)

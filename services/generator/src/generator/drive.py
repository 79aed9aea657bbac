"""One lease: rounds of attempts until there is something to say, or until nothing is left but to wait.

What follows is decided from the rows (`attempts.standing`), so a generation can be left at any line and taken up by
another process. A task is recorded before anything else is done with it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from contracts.facts import Ending, Failure, Kind, Rendering, Request, Verdict
from contracts.progress import Progress
from generator.admission import Admission
from generator.announcements import Announcer
from generator.attempts import (
    DEADLINE,
    INTERRUPTED,
    LEAST_SECONDS,
    NOT_SENT,
    Attempt,
    Standing,
    State,
)
from generator.breakers import Breakers
from generator.catalog import Model
from generator.conclusions import conclusion, said_again
from generator.course import Assignment, Course
from generator.follow import Follower
from generator.insisting import insist
from generator.limits import Limits
from generator.moderation import Moderation
from generator.providers.interface import Unavailable
from generator.reuse import Reuses
from generator.steps import made, next_step
from generator.submit import Submitter
from generator.work import INTENT_LEFT_SECONDS, Lease, Standstill, Work
from runtime.health import is_transient

WAIT_IN_PLACE_SECONDS = 3.0
"""A longer pause before the next attempt is waited for in the row, and whoever is free then goes on."""
PAUSE_AFTER_DEFECT_SECONDS = 10.0
WAITING_LEASES = 4
"""How many times longer a lease lasts while its tasks are only followed: there are many of them."""
_STEP_PERCENT = (10, 90)

log = structlog.get_logger()

Conclusion = Rendering | Ending | None
"""What is to be said; None where it is left to others or to a later time."""


class LeaseLost(Exception):
    """Somebody else works on it now, or it has an outcome: stop, and say nothing."""


class NotAllowed(Exception):
    """Moderation refused it before anything was begun."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class Driver:
    """Works on generations whose lease this process holds."""

    def __init__(
        self,
        work: Work,
        submitter: Submitter,
        follower: Follower,
        announcer: Announcer,
        breakers: Breakers,
        limits: Limits,
        moderation: Moderation,
        reuses: Reuses,
    ) -> None:
        self._work = work
        self._reuses = reuses
        self._moderation = moderation
        self._breakers = breakers
        self._limits = limits
        self._submitter = submitter
        self.admission = Admission(work.process, submitter, breakers, limits, moderation)
        self.texts = submitter.texts
        self._follower = follower
        self._announcer = announcer

    async def begin(
        self, lease: Lease, model: Model | Failure, first: Sequence[Attempt] | Failure | None
    ) -> Conclusion:
        """Works under a lease that was just taken; `first` are the intents written with it, or why there are none, None
        where it was open before. Without its model nothing is begun any more."""
        assignment = None
        if isinstance(model, Model):
            give_up_at = time.monotonic() + lease.remaining_seconds
            assignment = Assignment(lease.request, lease.traceparent, model, give_up_at)
        course = Course(lease, assignment)
        refusal = model if isinstance(model, Failure) else DEADLINE
        return await self._drive(course, refusal, first)

    async def go_on(self, course: Course) -> Conclusion:
        """Works on after one of the tasks that were waited for has ended."""
        return await self._drive(course, DEADLINE, [])

    async def _drive(self, course: Course, refusal: Failure, first: Sequence[Attempt] | Failure | None) -> Conclusion:
        try:
            if first is None:
                if (reused := await self._take_stock(course)) is not None:
                    return reused
            elif isinstance(first, Failure):
                raise NotAllowed(first)
            else:
                course.put(first)
            now = await self._pursue(course)
            if now is None:
                return None
            if now.delivered:
                return await self._finish(course, now)
            failure = now.outputs[0].failure if now.outputs else self._why_not(course, refusal)
            return Ending(generation_id=course.generation_id, verdict=Verdict.FAILED, failure=failure)
        except NotAllowed as refused:
            return Ending(generation_id=course.generation_id, verdict=Verdict.FAILED, failure=refused.failure)
        except LeaseLost:
            log.info("generation.lease_lost", fence=course.lease.fence)
            await self._give_over(course)
            return None
        except BaseException as error:
            is_defect = isinstance(error, Exception) and not is_transient(error)
            await self._let_go(course, PAUSE_AFTER_DEFECT_SECONDS if is_defect else 0)
            raise

    def _why_not(self, course: Course, refusal: Failure) -> Failure:
        """Why nothing was begun."""
        in_time = course.assignment is not None and course.assignment.remaining_seconds > LEAST_SECONDS
        return Unavailable().failure if in_time else refusal

    async def _take_stock(self, course: Course) -> Conclusion:
        """What was tried before us. Of an intent whose process is gone nobody knows whether it was sent, unless its
        provider can be asked by our reference. Where nothing was, what it is answered with without any attempt."""
        lost: list[Attempt] = []
        for attempt in await self._work.attempts(course.generation_id):
            unsent = attempt.process == self._work.process and not self._submitter.may_have_sent(attempt)
            if attempt.state is State.INTENT and not unsent:
                lost.append(replace(attempt, failure=INTERRUPTED))
            else:
                course.put([attempt])
        course.put(await self._find(course, lost))
        begun: Sequence[Attempt] = ()
        assignment = course.assignment
        if not course.attempts and assignment is not None and assignment.remaining_seconds > LEAST_SECONDS:
            if (reused := await self._reuse(course)) is not None:
                return reused
            first = await self.admission.first(assignment.request, assignment.model)
            if isinstance(first, Failure):
                raise NotAllowed(first)
            begun = first
            course.put(begun)
        await self._save(course, begun)
        return None

    async def _reuse(self, course: Course) -> Conclusion:
        """What was made before, where the request allows that; judged as anything else."""
        reused = await self._reuses.find(course.lease)
        if reused is None:
            return None
        refusal = await self._moderation.judge_prompt(course.lease.request)
        if refusal is not None:
            raise NotAllowed(refusal)
        await self._save(course, state="rendered", lease_seconds=0)
        return reused

    async def said_again(self, request: Request, found: Standstill) -> Conclusion:
        """What a rendered generation was said to have come to."""
        if found.reused is not None:
            return await self._reuses.conclusion(request, found.reused)
        return said_again(request, await self._work.attempts(request.generation_id))

    async def _find(self, course: Course, lost: Sequence[Attempt]) -> list[Attempt]:
        if course.assignment is None:
            return [attempt.ended(State.UNKNOWN, INTERRUPTED) for attempt in lost]
        found = await asyncio.gather(*(self._submitter.find(course.assignment, attempt) for attempt in lost))
        for attempt in found:
            if attempt.state is State.UNKNOWN:
                log.warning("attempt.unknown", attempt_id=str(attempt.id), provider=attempt.provider)
        return list(found)

    async def _pursue(self, course: Course) -> Standing | None:
        """Rounds of attempts until nothing is left to be tried; None where the next one must wait for long, or where
        tasks are followed."""
        while True:
            if course.assignment is None:
                course.put(attempt.ended(State.UNKNOWN, INTERRUPTED) for attempt in course.submitted)
            now = course.standing()
            if not course.attempts and course.assignment is not None and await self._is_left_alone(course):
                return None
            if not now.again or course.assignment is None:
                if now.waiting:
                    await self._save(course, lease_seconds=self._work.lease_seconds * WAITING_LEASES)
                    self._follower.follow(course)
                    return None
                if steps := self._next_steps(course):
                    await self._save(course, steps)
                    course.put(steps)
                    await self._limits.leave(course.generation_id, steps[0].provider)
                    continue
                if not now.delivered:
                    await self._save(course)
                return now
            going = [attempt for attempt in now.again if attempt.state is State.INTENT]
            tired = [attempt for attempt in now.again if attempt.state is not State.INTENT]
            if now.pause_seconds > WAIT_IN_PLACE_SECONDS and not now.waiting:
                await self._save(course, lease_seconds=0, pause_seconds=now.pause_seconds)
                log.info("generation.waits", seconds=round(now.pause_seconds, 1))
                return None
            if now.pause_seconds > 0:
                await self._save(course)
                await asyncio.sleep(now.pause_seconds)
            if tired:
                begun = await self.admission.again(course, course.assignment, tired, in_place=bool(now.waiting))
                if begun is None:
                    if not now.waiting and await self._is_left_alone(course, tired):
                        return None
                    course.is_given_up = True
                    continue
                await self._save(course, begun)
                course.put(begun)
                going += begun
            await self._round(course, course.assignment, going)

    def _next_steps(self, course: Course) -> list[Attempt]:
        assignment = course.assignment
        if assignment is None or assignment.remaining_seconds <= LEAST_SECONDS:
            return []
        step = next_step(assignment.request, assignment.model, course.attempts.values(), self._work.process)
        return self._submitter.keyed(assignment.request, [step] if step else [])

    async def _is_left_alone(self, course: Course, tired: Sequence[Attempt] = ()) -> bool:
        """Gives the work back until whoever could go on after these attempts, or begin, is asked again, where there is
        time for that."""
        if course.assignment is None:
            return False
        seconds, why = self.admission.wait_seconds(course.assignment, tired)
        if seconds <= 0 or course.assignment.remaining_seconds - seconds <= LEAST_SECONDS:
            return False
        await self._save(course, lease_seconds=0, pause_seconds=seconds)
        log.info("generation.waits", seconds=round(seconds, 1), why=why)
        return True

    async def _round(self, course: Course, assignment: Assignment, going: Sequence[Attempt]) -> None:
        """Makes these attempts at the same time and records each that ends while others still run."""
        self._limits.budgets.count(going)
        await self._tell(course)
        assignment = replace(assignment, made=made(course.attempts.values()))
        if len(going) == 1:
            ended = await self._submitter.submit(assignment, going[0])
            await self._breakers.note(ended)
            course.put([ended])
            return
        pending = {asyncio.create_task(self._submitter.submit(assignment, attempt)) for attempt in going}
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                course.put(task.result() for task in done)
                for task in done:
                    await self._breakers.note(task.result())
                if pending:
                    await self._save(course)
                    await self._tell(course)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _finish(self, course: Course, now: Standing) -> Rendering | Ending:
        await self._save(course, state="rendered", lease_seconds=0)
        request = course.lease.request
        log.info(
            "generation.rendered",
            model=request.model,
            attempts=len(course.attempts),
            delivered=sum(output.failure is None for output in now.outputs),
        )
        return conclusion(request, course.attempts, now)

    async def _save(
        self,
        course: Course,
        begun: Sequence[Attempt] = (),
        *,
        state: str = "open",
        lease_seconds: float | None = None,
        pause_seconds: float = 0.0,
    ) -> None:
        """Records what ended and what begins. Raises LeaseLost."""
        lease, ended = course.lease, course.ended

        async def save() -> bool:
            return await self._work.save(
                lease, ended, begun, state=state, lease_seconds=lease_seconds, pause_seconds=pause_seconds
            )

        give_up_at = course.assignment.give_up_at if course.assignment else time.monotonic()
        if not await insist(save, give_up_at):
            raise LeaseLost
        self._submitter.forget(ended)

    async def _let_go(self, course: Course, pause_seconds: float) -> None:
        """Hands the lease back, at a shutdown or after a defect: what was sent and not answered is unknown, unless
        its provider can be asked for it."""
        course.put(
            attempt.ended(State.UNKNOWN, INTERRUPTED)
            if self._submitter.may_have_sent(attempt)
            else attempt.ended(State.FAILED, NOT_SENT)
            for attempt in list(course.attempts.values())
            if attempt.state is State.INTENT and not self._submitter.can_be_found(course.assignment, attempt)
        )
        ended = course.ended
        lease_seconds = INTENT_LEFT_SECONDS if len(ended) < len(course.attempts) else 0
        try:
            kept = await self._work.save(course.lease, ended, lease_seconds=lease_seconds, pause_seconds=pause_seconds)
            if not kept:
                await self._give_over(course)
        except Exception as error:
            log.warning("generation.not_released", error=repr(error))
            return
        if kept:
            self._submitter.forget(ended)
        log.info("generation.released" if kept else "generation.lease_lost")

    async def _give_over(self, course: Course) -> None:
        """Tasks that were begun while somebody else took the generation over, or while it got its outcome: they are
        followed, or whoever sweeps stops them. What was sent for it need not be remembered with an outcome; while it is
        open, this process may take it over again."""
        for attempt in course.submitted:
            if attempt.task is not None:
                await self._work.record_late(attempt, attempt.task)
        found = await self._work.look(course.generation_id)
        if found is not None and found.state == "closed":
            self._submitter.forget(course.attempts.values())

    async def _tell(self, course: Course) -> None:
        """Numbered by the percentage, which only grows. A text tells by itself how far it is."""
        if course.lease.request.kind is Kind.TEXT:
            return
        done = sum(attempt.state is State.RENDERED for attempt in course.attempts.values())
        steps = 2 if any(attempt.kind is not None for attempt in course.attempts.values()) else 1
        items = max(steps, len({attempt.item for attempt in course.attempts.values()}))
        low, high = _STEP_PERCENT
        percent = low + (high - low) * done // max(1, items)
        told = Progress(generation_id=course.generation_id, number=percent, stage="rendering", percent=percent)
        await self._announcer.progress(told)

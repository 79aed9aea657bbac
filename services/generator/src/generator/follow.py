"""Following tasks: a row and a timer each. One loop per process looks at what is due; nothing else waits.

The lease of what is followed stays with this process. A look is free of charge and harmless, so whoever takes a lease
over simply goes on looking.
"""

import asyncio
import heapq
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from contracts.progress import Progress
from generator.announcements import Announcer
from generator.attempts import DEADLINE, UNHEARD, Attempt, State
from generator.breakers import Breakers
from generator.course import Course
from generator.history import History
from generator.providers.interface import Running
from generator.submit import Silent, Submitter
from runtime.telemetry import trace_id

FIRST_LOOK_SECONDS = (0.5, 5.0)
"""A hundredth of the model's p99, in these bounds."""
LATEST_LOOK_SECONDS = (2.0, 30.0)
"""A twentieth of the model's p99, in these bounds: pauses grow up to this."""
GROWTH = 1.3
LOOKS_PER_SECOND = 100.0
"""Of one process; where more are due, all of them wait a little longer."""
LOOKS_AT_ONCE = 32
"""At one provider: where it does not answer, it delays those at its own tasks alone."""
TICK_SECONDS = 0.05
MOST_PERCENT = 90
"""The rest is storing it."""
HINTED_EVERY_SECONDS = 0.5
"""However often somebody says that a task has moved."""
MAX_EARLY_HINTS = 1000
"""Hints about attempts whose task is not recorded yet; the oldest make room, since most are about tasks that another
process follows."""

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Watched:
    """One task and when it is looked at next, on the monotonic clock."""

    course: Course
    attempt: Attempt
    pause_seconds: float
    look_at: float
    hinted_at: float = float("-inf")
    said: tuple[str, int | None, int | None] | None = None


class Follower:
    """The tasks that this process follows."""

    def __init__(self, submitter: Submitter, announcer: Announcer, history: History, breakers: Breakers) -> None:
        self._submitter = submitter
        self._breakers = breakers
        self._announcer = announcer
        self._history = history
        self._courses: dict[UUID, Course] = {}
        self._watched: dict[UUID, Watched] = {}
        self._due: dict[str, list[tuple[float, int, Watched]]] = {}
        """By provider."""
        self._numbers = itertools.count()
        self._hints: dict[UUID, None] = {}
        self._woken = asyncio.Event()
        self._looks: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        """Those under way, by provider."""
        self._loop: asyncio.Task[None] | None = None
        self._resume: Callable[[Course], None] | None = None

    def start(self, resume: Callable[[Course], None]) -> None:
        """Begins to look; `resume` goes on with a generation of which an attempt has ended."""
        self._resume = resume
        self._loop = asyncio.create_task(self._run(), name="follow tasks")

    async def stop(self) -> None:
        """Looks no more; looks under way may finish."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        looks = list(itertools.chain.from_iterable(self._looks.values()))
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    @property
    def fences(self) -> dict[UUID, int]:
        """The leases of what is followed."""
        return {generation_id: course.lease.fence for generation_id, course in self._courses.items()}

    def __contains__(self, generation_id: UUID) -> bool:
        return generation_id in self._courses

    def __len__(self) -> int:
        return len(self._watched)

    def follow(self, course: Course) -> None:
        """Looks at every task of a generation from now on, until one of them has ended."""
        self._courses[course.generation_id] = course
        for attempt in course.submitted:
            known = self._watched.get(attempt.id)
            first_seconds = _bounded(course, 100, FIRST_LOOK_SECONDS)
            age_seconds = time.monotonic() - attempt.begun_at
            pause_seconds = known.pause_seconds if known else max(first_seconds, age_seconds / 10)
            hinted = attempt.id in self._hints
            self._hints.pop(attempt.id, None)
            self._schedule(Watched(course, attempt, pause_seconds, 0.0), 0.0 if hinted else pause_seconds)

    def drop(self, generation_id: UUID) -> None:
        """Its lease is lost, or its outcome is there."""
        course = self._courses.pop(generation_id, None)
        for attempt in course.submitted if course else ():
            self._watched.pop(attempt.id, None)

    def hint(self, attempt_id: UUID) -> None:
        """Somebody says that a task has moved: it is looked at now, and never later than without. Whether it is true is
        seen then."""
        watched = self._watched.get(attempt_id)
        now = time.monotonic()
        if watched is not None:
            soonest = max(now, watched.hinted_at + HINTED_EVERY_SECONDS)
            if soonest < watched.look_at:
                self._schedule(watched, soonest - now)
            watched.hinted_at = now
        else:
            self._hints[attempt_id] = None
            if len(self._hints) > MAX_EARLY_HINTS:
                del self._hints[next(iter(self._hints))]

    # -- the loop ---------------------------------------------------------------------------------------------

    def _schedule(self, watched: Watched, seconds: float) -> None:
        """The next look, after so many seconds, or when the provider's time is over."""
        now = time.monotonic()
        assignment = watched.course.assignment
        watched.look_at = now + seconds
        if assignment is not None:
            watched.look_at = min(watched.look_at, max(now, assignment.provider_deadline(watched.attempt)))
        self._watched[watched.attempt.id] = watched
        due = self._due.setdefault(watched.attempt.provider, [])
        if not due or watched.look_at < due[0][0]:
            self._woken.set()
        heapq.heappush(due, (watched.look_at, next(self._numbers), watched))

    def _next(self) -> list[tuple[float, int, Watched]] | None:
        """The heap of the one that is due before all others whose provider is not busy; None where there is none."""
        free = (due for provider, due in self._due.items() if due and len(self._looks[provider]) < LOOKS_AT_ONCE)
        return min(free, key=lambda due: due[0][:2], default=None)

    async def _run(self) -> None:
        allowed, counted_at = 0.0, time.monotonic()
        while True:
            now = time.monotonic()
            allowed = min(LOOKS_AT_ONCE, allowed + (now - counted_at) * LOOKS_PER_SECOND)
            counted_at = now
            while allowed >= 1 and (due := self._next()) is not None and due[0][0] <= now:
                look_at, _, watched = heapq.heappop(due)
                if watched.look_at != look_at or self._watched.get(watched.attempt.id) is not watched:
                    continue
                allowed -= 1
                look = asyncio.create_task(self._look(watched), name="look")
                self._looks[watched.attempt.provider].add(look)
                look.add_done_callback(partial(self._looked, watched.attempt.provider))
            await self._sleep()

    async def _sleep(self) -> None:
        """Until something is due, but never so short that looking around would cost more than looking."""
        await asyncio.sleep(TICK_SECONDS)
        due = self._next()
        seconds = due[0][0] - time.monotonic() if due is not None else None
        if seconds is not None and seconds <= 0:
            return
        self._woken.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    def _looked(self, provider: str, look: asyncio.Task[None]) -> None:
        if len(self._looks[provider]) == LOOKS_AT_ONCE:
            self._woken.set()
        self._looks[provider].discard(look)
        if not look.cancelled() and (error := look.exception()) is not None:
            log.error("look.failed", error=repr(error))

    async def _look(self, watched: Watched) -> None:
        course, attempt, assignment = watched.course, watched.attempt, watched.course.assignment
        if assignment is None:
            return
        request = course.lease.request
        structlog.contextvars.bind_contextvars(
            generation_id=str(request.generation_id), trace_id=trace_id(course.lease)
        )
        began_at = time.monotonic()
        found: Attempt | Running | Silent | None
        found = await self._submitter.look(assignment, attempt)
        if not isinstance(found, Attempt) and time.monotonic() >= assignment.provider_deadline(attempt):
            found = await self._submitter.cancel(assignment, attempt, DEADLINE)
            found = found or attempt.ended(State.UNKNOWN, UNHEARD)
        if self._watched.get(attempt.id) is not watched:
            return  # dropped meanwhile, or another task of this generation has ended first
        if isinstance(found, Attempt):
            self._end(course, found)
            await self._breakers.note(found)
            return
        grown = watched.pause_seconds * GROWTH
        watched.pause_seconds = min(grown, _bounded(course, 20, LATEST_LOOK_SECONDS))
        asked_seconds = found.pause_seconds if isinstance(found, Silent) else 0.0
        hinted = watched.hinted_at > began_at
        self._schedule(watched, HINTED_EVERY_SECONDS if hinted else max(watched.pause_seconds, asked_seconds))
        if isinstance(found, Running):
            await self._tell(watched, found)

    async def _tell(self, watched: Watched, running: Running) -> None:
        """How far it is, where that is news: as the provider says, else as this model's last tasks went."""
        age_seconds = time.monotonic() - watched.attempt.begun_at
        whole_seconds = None
        if running.percent:
            whole_seconds = age_seconds * 100 / running.percent
        elif watched.attempt.model is not None:
            whole_seconds = await self._history.typical_seconds(watched.attempt.model)
        percent = running.percent
        if percent is None and whole_seconds:
            percent = int(100 * age_seconds / whole_seconds)
        said = (running.stage, percent, running.position)
        if said == watched.said:
            return
        watched.said = said
        told = Progress(
            generation_id=watched.course.generation_id,
            number=time.time_ns() // 1_000_000,
            stage=running.stage,
            percent=max(0, min(MOST_PERCENT, percent or 0)),
            is_estimate=running.percent is None and percent is not None,
            remaining_seconds=None if whole_seconds is None else max(1, round(whole_seconds - age_seconds)),
            position=running.position,
        )
        await self._announcer.progress(told)

    def _end(self, course: Course, attempt: Attempt) -> None:
        self.drop(course.generation_id)
        course.put([attempt])
        if self._resume is not None:
            self._resume(course)


def _bounded(course: Course, parts: int, bounds_seconds: tuple[float, float]) -> float:
    least, most = bounds_seconds
    p99_seconds = course.assignment.model.offer.p99_seconds if course.assignment else 0
    return min(most, max(least, p99_seconds / parts))

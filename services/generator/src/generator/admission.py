"""Who is asked for a piece of work now, and whether there is room for it: nobody who is left alone, no more than a
provider's limits say, and nothing that moderation refuses."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from uuid import UUID

from contracts.facts import Failure, Request
from generator.attempts import Attempt, first_attempts
from generator.breakers import Breakers
from generator.budgets import is_retry
from generator.catalog import Model
from generator.course import Assignment, Course
from generator.limits import Limits
from generator.moderation import Moderation
from generator.steps import spoken, voice_of
from generator.submit import Submitter


class Admission:
    """That of one process."""

    def __init__(
        self, process: UUID, submitter: Submitter, breakers: Breakers, limits: Limits, moderation: Moderation
    ) -> None:
        self._process = process
        self._submitter = submitter
        self._breakers = breakers
        self._limits = limits
        self._moderation = moderation

    async def first(self, request: Request, model: Model) -> list[Attempt] | Failure:
        """The attempts that a generation begins with; none while everybody who could do it is left alone or busy.
        A failure where it must not be begun: judged last, since what waits comes here again and again."""
        voice = voice_of(request, model)
        worker = self._breakers.worker(voice or model, self._has_own(request))
        if worker is None:
            return []
        calls = 1 if voice else -(-request.count // worker.max_per_submission)
        async with AsyncExitStack() as unmade:
            unmade.callback(self._breakers.give_back, worker.provider, worker.id)
            if not await self._limits.admit(request, worker.provider, calls):
                return []
            unmade.push_async_callback(self._limits.give_back, worker.provider, calls)
            refusal = await self._moderation.judge_prompt(request)
            if refusal is not None:
                return refusal
            unmade.pop_all()
        if voice is not None:
            return self._submitter.keyed(request, [spoken(request, worker, self._process)])
        per, process = worker.max_per_submission, self._process
        begun = first_attempts(request.generation_id, request.count, per, worker.provider, process, worker.id)
        return self._submitter.keyed(request, begun)

    async def give_back(self, request: Request, first: Sequence[Attempt] | Failure) -> None:
        """First attempts that are not made: somebody has worked on the generation before, or it was not claimed."""
        self._limits.forget(request.generation_id)
        if first and not isinstance(first, Failure):
            self._breakers.give_back(first[0].provider, first[0].model)
            await self._limits.give_back(first[0].provider, len(first))

    async def again(
        self, course: Course, assignment: Assignment, tired: Sequence[Attempt], *, in_place: bool
    ) -> list[Attempt] | None:
        """The attempts after these; None while somebody who could make them is left alone or busy. With tasks under
        way there is no giving the work back, so who is busy is waited for in place while there is time for that."""
        request = assignment.request
        asked = assignment.asked_of(tired[0])  # all are of one step
        workers = self._breakers.workers(asked, [attempt.count for attempt in tired], self._has_own(request))
        if not workers:
            return None
        pairs = [(worker.provider, attempt) for worker, attempt in zip(workers, tired, strict=True)]
        retries = Counter(provider for provider, attempt in pairs if is_retry(attempt))
        with ExitStack() as unmade:
            for worker in workers:
                unmade.callback(self._breakers.give_back, worker.provider, worker.id)
            for provider, calls in Counter(provider for provider, _ in pairs).items():
                while not await self._limits.admit_again(request, provider, calls, retries[provider]):
                    if not in_place:
                        return None
                    pause_seconds = self._limits.pause_seconds(course.generation_id)
                    if not course.may_wait(pause_seconds):
                        return None
                    await asyncio.sleep(pause_seconds)
            unmade.pop_all()
        begun = (
            attempt.next(course.generation_id, self._process, (worker.provider, worker.id))
            for attempt, worker in zip(tired, workers, strict=True)
        )
        return self._submitter.keyed(request, begun)

    def _has_own(self, request: Request) -> Callable[[str], bool]:
        return partial(self._submitter.has_own, request.user_id)

    def wait_seconds(self, assignment: Assignment, tired: Sequence[Attempt] = ()) -> tuple[float, str]:
        """How long, and why, whoever could make the attempts after these, or the first, is not asked; 0 where nobody
        is waited for."""
        busy_seconds = self._limits.pause_seconds(assignment.request.generation_id)
        first = voice_of(assignment.request, assignment.model) or assignment.model
        asked = [assignment.asked_of(attempt) for attempt in tired] or [first]
        seconds = max(busy_seconds, *map(self._breakers.blocked_seconds, asked))
        return seconds, "busy" if busy_seconds else "left alone"

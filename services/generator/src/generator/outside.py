"""What happens outside of this process: a renderer of the operator's own has a result, a client names a task.

Who says so was checked by whoever asks. A result becomes an attempt of its own, so that everything after it is as
always. Whoever still works on the generation loses the lease; a task of theirs is stopped once the outcome is there.
"""

from uuid import UUID, uuid5

import structlog

from contracts.facts import Output, Rendering
from contracts.tasks import LookAtTask, LookedAtTask, TakenResult, TakeResult
from generator.announcements import Announcer
from generator.callbacks import Callbacks
from generator.conclusions import said_again
from generator.generate import Generator
from generator.work import Work

PROVIDER = "outside"
_ATTEMPT = UUID("4e0c0c0b-6a2e-5c49-8e55-0d0f3b1f7a10")
_BETWEEN = "#"
"""A task of several names is kept as one text."""

log = structlog.get_logger()


class Outside:
    """Answers the questions."""

    def __init__(self, work: Work, generator: Generator, announcer: Announcer, callbacks: Callbacks) -> None:
        self._work = work
        self._generator = generator
        self._announcer = announcer
        self._callbacks = callbacks

    async def take_result(self, question: TakeResult) -> TakenResult:
        """Says `rendered` with it, once it is recorded; said again when it is asked again.

        Raises:
            OSError, nats.errors.Error, sqlalchemy.exc.DBAPIError: a dependency is away; ask again.
        """
        generation_id = question.generation_id
        attempt_id = uuid5(_ATTEMPT, str(generation_id))
        output = Output(index=0, url=question.url)
        await self._work.take_result(generation_id, attempt_id, PROVIDER, output)
        found = await self._work.rendered(generation_id)
        if found is None:
            standstill = await self._work.look(generation_id)
            is_final = standstill is not None and standstill.state != "open"
            return TakenResult(state="finished" if is_final else "unknown")
        request, traceparent = found
        attempts = await self._work.attempts(generation_id)
        if all(attempt.id != attempt_id for attempt in attempts):
            return TakenResult(state="finished")
        self._generator.stop(generation_id)
        conclusion = said_again(request, attempts)
        if isinstance(conclusion, Rendering):
            await self._announcer.rendered(conclusion, traceparent)
        log.info("generation.rendered", provider=PROVIDER)
        return TakenResult(state="taken")

    async def look_at_task(self, question: LookAtTask) -> LookedAtTask:
        """Whether a task of the generation bears all of the names; then it is looked at, wherever it is followed."""
        for attempt in await self._work.attempts(question.generation_id):
            if attempt.task is not None and {*question.names} <= {attempt.task.id, *attempt.task.id.split(_BETWEEN)}:
                await self._callbacks.hint(attempt.id)
                return LookedAtTask(is_known=True)
        return LookedAtTask(is_known=False)

"""One attempt: the paid call, and its result brought to where it outlives this process."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from contracts.facts import Failure, Output, Request
from generator.attempts import DEADLINE, LEAST_SECONDS, Attempt, State, pause_after, provider_seconds
from generator.catalog import Model
from generator.claims import Claims
from generator.providers.interface import Item, Provider, ProviderRefusal, Submission, Task, Unavailable, Unknown
from runtime import telemetry
from runtime.consumption import RETRY_IN_PLACE_SECONDS
from runtime.health import is_transient
from runtime.outbound import CONNECTIONS

RESULT_LOST = Failure(code="result_lost", message="The provider delivered, but the result could not be kept.")

T = TypeVar("T")

log = structlog.get_logger()
ATTEMPTS = Counter("attempts_total", "Paid calls, by how they ended.", ["provider", "state", "code"])
SECONDS = Histogram(
    "attempt_seconds", "Seconds a paid call took.", ["provider"], buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320)
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the attempts of one generation share."""

    request: Request
    traceparent: str | None
    model: Model
    give_up_at: float
    """The generation's deadline on this process's monotonic clock."""

    @property
    def remaining_seconds(self) -> float:
        return self.give_up_at - time.monotonic()


class Submitter:
    """Makes paid calls, never more at a time than there are connections."""

    def __init__(self, providers: Mapping[str, Provider], claims: Claims) -> None:
        self._providers = providers
        self._claims = claims
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._dice = random.Random()
        self._sent: set[UUID] = set()

    def may_have_sent(self, attempt: Attempt) -> bool:
        """Whether this process began the call and it is not recorded how it ended."""
        return attempt.id in self._sent

    def forget(self, recorded: Iterable[Attempt]) -> None:
        self._sent.difference_update(attempt.id for attempt in recorded)

    async def submit(self, assignment: Assignment, attempt: Attempt) -> Attempt:
        """Makes the call and returns the attempt as it ended; raises nothing but cancellation."""
        async with self._connections:
            if assignment.remaining_seconds <= LEAST_SECONDS:
                return attempt.ended(State.FAILED, DEADLINE)
            self._sent.add(attempt.id)
            began_at = time.monotonic()
            with telemetry.span("submit", assignment.traceparent, provider=attempt.provider):
                ended = await self._call(assignment, attempt)
        code = ended.failure.code if ended.failure else ""
        ATTEMPTS.labels(attempt.provider, ended.state, code).inc()
        SECONDS.labels(attempt.provider).observe(time.monotonic() - began_at)
        if ended.failure is not None:
            log.warning(
                "attempt.not_rendered",
                attempt_id=str(attempt.id),
                provider=attempt.provider,
                number=attempt.number,
                state=ended.state,
                code=code,
                seconds=round(time.monotonic() - began_at, 3),
            )
        return ended

    async def _call(self, assignment: Assignment, attempt: Attempt) -> Attempt:
        request, model = assignment.request, assignment.model
        submission = Submission(
            reference=attempt.id,
            kind=request.kind,
            model=model.provider_model,
            prompt=request.prompt,
            count=attempt.count,
            first_index=attempt.first_index,
            size=request.size or model.offer.default_size,
            options=request.options,
            timeout_seconds=provider_seconds(model.offer.deadline_seconds, assignment.remaining_seconds),
        )
        try:
            items = await self._providers[attempt.provider].submit(submission)
            if isinstance(items, Task):
                raise Unknown
        except Unknown as refusal:
            return attempt.ended(State.UNKNOWN, refusal.failure)
        except ProviderRefusal as refusal:
            pause_seconds = pause_after(refusal, attempt.number, self._dice)
            return attempt.ended(State.FAILED, refusal.failure, pause_seconds)
        except Exception:
            # A defect of the adapter: the call may have been paid, and the next would end the same way.
            log.exception("attempt.broken", attempt_id=str(attempt.id), provider=attempt.provider)
            return attempt.ended(State.UNKNOWN, Unknown().failure)
        try:
            kept = attempt.rendered(await self._keep(assignment, attempt, items))
        except Exception:
            log.exception("attempt.result_lost", attempt_id=str(attempt.id), provider=attempt.provider)
            return attempt.ended(State.FAILED, RESULT_LOST)
        if kept.failure is None:
            return kept
        return kept.ended(State.FAILED, kept.failure, pause_after(Unavailable(), attempt.number, self._dice))

    async def _keep(self, assignment: Assignment, attempt: Attempt, items: Sequence[Item]) -> tuple[Output, ...]:
        outputs: list[Output] = []
        for index, item in zip(attempt.indexes, items, strict=True):
            if isinstance(item, Failure):
                outputs.append(Output(index=index, failure=item))
            elif item.content is None:
                outputs.append(Output(index=index, url=item.url, mime_type=item.mime_type))
            else:
                name = f"{attempt.id}-{index}"
                await insist(partial(self._claims.put, name, item.content), assignment.give_up_at)
                outputs.append(Output(index=index, claim=name, mime_type=item.mime_type))
        return tuple(outputs)


async def insist(action: Callable[[], Awaitable[T]], give_up_at: float) -> T:
    """Repeats an idempotent action while a dependency is away: what was paid for is in this process only.

    Raises:
        Exception: the action's own, where it is no use to wait or the time is over.
    """
    pauses = iter(RETRY_IN_PLACE_SECONDS)
    while True:
        try:
            return await action()
        except Exception as error:
            if not is_transient(error) or time.monotonic() > give_up_at:
                raise
            log.warning("result.waits", error=repr(error))
            await asyncio.sleep(next(pauses, RETRY_IN_PLACE_SECONDS[-1]))

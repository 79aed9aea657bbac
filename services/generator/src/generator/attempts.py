"""Attempts, and what follows from them: pure decisions about paying again, waiting and giving up.

A generation's request is split into submissions, numbered `item`: each is one paid call for `count` outputs, from
`first_index` on. A submission has attempts, numbered from 1. What follows depends on nothing but the rows, so that
whoever takes a generation over comes to the same conclusion.
"""

import random
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal
from uuid import UUID, uuid5

from contracts.facts import CutBy, Failure, Kind, Output
from contracts.money import Usage
from contracts.talking import Call
from generator.providers.interface import (
    ProviderRefusal,
    QuotaExhausted,
    Task,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
    Unreadable,
)

MAX_TRIES = 3
"""Of one submission, over all deliveries. To be sent away as one too many is no try: nothing was begun."""
LEAST_SECONDS = 1.0
"""With less than this until its deadline no generation is begun or tried again."""
RETRY_AFTER_LIMIT_SECONDS = 60.0
THROTTLED_PAUSE_SECONDS = (1.0, 30.0)
UNAVAILABLE_PAUSE_SECONDS = (0.5, 8.0)
"""The ceiling of the first pause, which doubles with each attempt, and the highest ceiling."""
DEADLINE = Failure(code="deadline", message="The time for this generation is over.")
UNHEARD = Failure(code=DEADLINE.code, message="The time for this generation is over, and its provider did not answer.")
"""Its task could not be stopped either."""
INTERRUPTED = Failure(code=Unknown.code, message="The process that waited for the provider's answer stopped.")
CANCELLED = Failure(code="cancelled", message="The generation ended while the provider was at work.")
NOT_SENT = Failure(code=Unavailable.code, message="The process stopped before it asked the provider.")
KEY_NOT_READ = Failure(code=Unavailable.code, message="The key that this was begun with is not known here yet.")
NEVER_ASKED = (NOT_SENT, KEY_NOT_READ)
"""What says nothing about the provider, since it was not asked."""

_ATTEMPT = UUID("7c6a5c0d-52f4-5c8e-b9f3-2f7d1f0c9a44")

UnknownPolicy = Literal["fail", "resubmit_once"]


class State(StrEnum):
    """`submitted`: the provider answered with a task, which is followed; others answer with the result."""

    INTENT = "intent"
    SUBMITTED = "submitted"
    RENDERED = "rendered"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One paid call. Its id follows from what it is, so that it cannot be begun twice."""

    id: UUID
    item: int
    number: int
    first_index: int
    count: int
    provider: str
    process: UUID
    """Which process wrote the intent."""
    own_key: bool | None = False
    """Whether it is made with the key of the user who wants it, and paid by them; of a former version nobody knows."""
    model: str | None = None
    """Which model of the catalog does the work, not always the one that was asked for."""
    kind: Kind | None = None
    """What it makes for the step after it; None where it makes what was asked for."""
    state: State = State.INTENT
    task: Task | None = None
    outputs: tuple[Output, ...] = ()
    text: str | None = None
    """What was written, what was called for and what both took: for a text in the place of outputs."""
    calls: tuple[Call, ...] = ()
    usage: Usage | None = None
    cut_by: CutBy | None = None
    """Why it is not whole."""
    failure: Failure | None = None
    pause_seconds: float = 0.0
    """How long to wait before the next one; only known to the process that made this one."""
    begun_at: float = field(default_factory=time.monotonic)
    """On this process's monotonic clock."""

    @property
    def indexes(self) -> range:
        return range(self.first_index, self.first_index + self.count)

    def ended(self, state: State, failure: Failure | None = None, pause_seconds: float = 0.0) -> "Attempt":
        return replace(self, state=state, failure=failure, pause_seconds=pause_seconds)

    def submitted(self, task: Task) -> "Attempt":
        return replace(self, state=State.SUBMITTED, task=task, failure=None)

    def written(
        self, text: str, usage: Usage | None, calls: tuple[Call, ...] = (), cut_by: CutBy | None = None
    ) -> "Attempt":
        return replace(self, state=State.RENDERED, text=text, usage=usage, calls=calls, cut_by=cut_by)

    def rendered(self, outputs: tuple[Output, ...]) -> "Attempt":
        """Rendered where at least one output arrived; failed as its first output did otherwise."""
        if any(output.failure is None for output in outputs):
            return replace(self, state=State.RENDERED, outputs=outputs)
        return replace(self, state=State.FAILED, failure=outputs[0].failure)

    def next(self, generation_id: UUID, process: UUID, worker: tuple[str, str | None] | None = None) -> "Attempt":
        """The attempt after this one, by another (provider, model) where one is given."""
        provider, model = worker or (self.provider, self.model)
        number = self.number + 1
        return replace(
            self,
            id=attempt_id(generation_id, self.item, number),
            number=number,
            provider=provider,
            model=model,
            process=process,
            state=State.INTENT,
            task=None,
            outputs=(),
            failure=None,
            pause_seconds=0.0,
            begun_at=time.monotonic(),
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a generation stands: what its submissions came to, and the last attempts of the others."""

    outputs: tuple[Output, ...]
    again: tuple[Attempt, ...]
    """To be tried again."""
    waiting: tuple[Attempt, ...] = ()
    """At work at their provider."""
    written: Attempt | None = None
    """The one that wrote the text, where it is one."""

    @property
    def delivered(self) -> bool:
        return self.written is not None or any(output.failure is None for output in self.outputs)

    @property
    def pause_seconds(self) -> float:
        """How long all that are tried again must wait."""
        return max((attempt.pause_seconds for attempt in self.again), default=0.0)


def attempt_id(generation_id: UUID, item: int, number: int) -> UUID:
    return uuid5(_ATTEMPT, f"{generation_id}\n{item}\n{number}")


def first_attempts(
    generation_id: UUID, count: int, per_submission: int, provider: str, process: UUID, model: str | None = None
) -> list[Attempt]:
    """The submissions that `count` outputs need, each with its first attempt."""
    return [
        Attempt(
            id=attempt_id(generation_id, item, 1),
            item=item,
            number=1,
            first_index=first,
            count=min(per_submission, count - first),
            provider=provider,
            process=process,
            model=model,
        )
        for item, first in enumerate(range(0, count, per_submission))
    ]


def standing(
    attempts: Iterable[Attempt], policy: UnknownPolicy, *, time_left: bool = True, stand_ins: Collection[str] = ()
) -> Standing:
    """What follows from all attempts of a generation; without time left nothing is tried again. `stand_ins` are the
    models that may do the work as well.

    An open intent counts as one to be tried again: whoever asks has ended those that it does not run itself.
    """
    by_item: dict[int, list[Attempt]] = {}
    for attempt in sorted(attempts, key=lambda attempt: (attempt.item, attempt.number)):
        by_item.setdefault(attempt.item, []).append(attempt)
    outputs: list[Output] = []
    again: list[Attempt] = []
    waiting: list[Attempt] = []
    written: Attempt | None = None
    for history in by_item.values():
        last = history[-1]
        if last.state is State.RENDERED:
            outputs += last.outputs if last.kind is None else ()
            written = last if last.text is not None else written
        elif last.state is State.SUBMITTED:
            waiting.append(last)
        elif time_left and _may_try_again(history, policy, stand_ins):
            again.append(last)
        else:
            failure = last.failure or DEADLINE
            outputs += [Output(index=index, failure=failure) for index in last.indexes]
    return Standing(tuple(outputs), tuple(again), tuple(waiting), written)


def pause_after(refusal: ProviderRefusal, number: int, dice: random.Random) -> float:
    """Seconds until the next attempt after attempt `number`: full jitter, and no less than the provider asked for.

    One that says 0, or a moment that is over, would be asked without a pause: to be sent away is no try.
    """
    if isinstance(refusal, Throttled):
        asked_seconds = min(refusal.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
        return max(asked_seconds, _jitter(THROTTLED_PAUSE_SECONDS, number, dice))
    if isinstance(refusal, Unavailable | Unreadable):
        return _jitter(UNAVAILABLE_PAUSE_SECONDS, number, dice)
    return 0.0


def provider_seconds(model_deadline_seconds: float, remaining_seconds: float) -> float:
    """How long one call may take: a tenth, at most 10 s, less than model and generation allow, to use the answer."""
    available = min(model_deadline_seconds, remaining_seconds)
    return available - min(10.0, available / 10)


def is_account_refused(attempt: Attempt) -> bool:
    """Whether the provider does not work for our account, which another's may do."""
    return attempt.own_key is False and _is(attempt, QuotaExhausted, Unauthorized)


def _may_try_again(history: Sequence[Attempt], policy: UnknownPolicy, stand_ins: Collection[str]) -> bool:
    last = history[-1]
    if last.state is State.INTENT:
        return True
    if last.failure in (DEADLINE, UNHEARD):
        return False
    tries = sum(1 for attempt in history if not _is(attempt, Throttled))
    if last.state is State.UNKNOWN:
        unknown = sum(1 for attempt in history if attempt.state in {State.UNKNOWN, State.SUBMITTED})
        return policy == "resubmit_once" and unknown == 1 and tries < MAX_TRIES
    if is_account_refused(last) and last.kind is None:
        return tries < MAX_TRIES and not {attempt.model for attempt in history}.issuperset(stand_ins)
    return _is(last, Throttled) or (_is(last, Unavailable, Unreadable) and tries < MAX_TRIES)


def _is(attempt: Attempt, *refusals: type[ProviderRefusal]) -> bool:
    codes = {refusal.code for refusal in refusals}
    return attempt.state is State.FAILED and attempt.failure is not None and attempt.failure.code in codes


def _jitter(ceilings_seconds: tuple[float, float], number: int, dice: random.Random) -> float:
    first, highest = ceilings_seconds
    return dice.uniform(0, min(highest, first * 2 ** min(number - 1, 16)))

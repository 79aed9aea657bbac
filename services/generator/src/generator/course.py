"""One generation in the hands of this process: its lease, what its attempts share, and how they stand."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from uuid import UUID

from contracts.facts import Input, Kind, Request
from generator.attempts import LEAST_SECONDS, UNHEARD, Attempt, Standing, State, provider_seconds, standing
from generator.catalog import Model
from generator.work import Lease


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the attempts of one generation share."""

    request: Request
    traceparent: str | None
    model: Model
    give_up_at: float
    """The generation's deadline on this process's monotonic clock."""
    made: tuple[Input, ...] = ()
    """What earlier steps made."""

    @property
    def remaining_seconds(self) -> float:
        return self.give_up_at - time.monotonic()

    def model_of(self, attempt: Attempt) -> Model:
        """The one that does the work of an attempt."""
        return next((model for model in self.model.others if model.id == attempt.model), self.model)

    def asked_of(self, attempt: Attempt) -> Model:
        """The one whose work an attempt does, perhaps in its place."""
        return self.model if attempt.kind is None else self.model_of(attempt)

    def kind_of(self, attempt: Attempt) -> Kind:
        """What an attempt makes."""
        return attempt.kind or self.request.kind

    def provider_deadline(self, attempt: Attempt) -> float:
        """When an attempt is given up, on the monotonic clock."""
        remaining_seconds = self.give_up_at - attempt.begun_at
        return attempt.begun_at + provider_seconds(self.asked_of(attempt).offer.deadline_seconds, remaining_seconds)


@dataclass(slots=True)
class Course:
    """The attempts of one lease, as far as this process knows them."""

    lease: Lease
    assignment: Assignment | None
    """None where the model cannot be had (any more)."""
    attempts: dict[UUID, Attempt] = field(default_factory=dict)
    is_given_up: bool = False
    """Whether nothing is tried again: whoever could do it is left alone for longer than there is time."""

    @property
    def generation_id(self) -> UUID:
        return self.lease.request.generation_id

    def put(self, attempts: Iterable[Attempt]) -> None:
        self.attempts.update((attempt.id, attempt) for attempt in attempts)

    @property
    def ended(self) -> list[Attempt]:
        """Those of which there is more to record than the intent. What could not be stopped stays a task in its row:
        whoever sweeps stops it once there is an outcome."""
        return [
            attempt
            for attempt in self.attempts.values()
            if attempt.state is not State.INTENT and attempt.failure != UNHEARD
        ]

    @property
    def submitted(self) -> list[Attempt]:
        """Tasks that are waited for. One in whose place another attempt is belongs to whoever sweeps."""
        last = {attempt.item: attempt for attempt in sorted(self.attempts.values(), key=attrgetter("number"))}
        return [attempt for attempt in last.values() if attempt.state is State.SUBMITTED]

    def may_wait(self, seconds: float) -> bool:
        """Whether there is time to wait so long for another attempt. Meanwhile nobody looks at the tasks under way, and
        what they made is to be had until their provider's time is over."""
        if self.assignment is None:
            return False
        ends_at = [self.assignment.give_up_at - LEAST_SECONDS]
        if seconds > 0:
            ends_at += map(self.assignment.provider_deadline, self.submitted)
        return time.monotonic() + seconds < min(ends_at)

    def standing(self) -> Standing:
        """Nothing is tried again where there is no time for the pause before."""
        policy = self.assignment.model.unknown_policy if self.assignment else "fail"
        stand_ins = [model.id for model in self.assignment.model.fallbacks] if self.assignment else []
        found = standing(self.attempts.values(), policy, stand_ins=stand_ins)
        if not self.is_given_up and self.may_wait(found.pause_seconds):
            return found
        return standing(self.attempts.values(), policy, time_left=False)

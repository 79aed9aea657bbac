"""The other side of a paid call, and its journal."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.facts import Failure, Output
from generator.attempts import Attempt, State
from generator.providers.interface import Task, Throttled, Unavailable, Unknown

if TYPE_CHECKING:
    from tests.simulation.world import World

REFUSED = Failure(code="moderated", message="The provider refused.")
SLOW_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Model:
    """How a model is done, and what is allowed where nobody knows what became of a call."""

    policy: str
    answers_with_a_task: bool
    can_be_asked: bool
    """By our reference, for a call whose answer was lost."""


MODELS = {
    "dear": Model("fail", answers_with_a_task=False, can_be_asked=False),
    "cheap": Model("resubmit_once", answers_with_a_task=False, can_be_asked=False),
    "film": Model("fail", answers_with_a_task=True, can_be_asked=True),
    "cheap film": Model("resubmit_once", answers_with_a_task=True, can_be_asked=False),
}


class Provider:
    """Takes calls, and remembers each that it takes money for."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.billed: list[UUID] = []
        """References of the calls that were accepted, in their order."""
        self._looks: dict[str, int] = {}

    def call(self, attempt: Attempt, model: Model) -> Attempt:
        """The attempt as its process knows it afterwards. An answer may be lost on its way."""
        if self.world.chance(0.08):
            return attempt.ended(State.FAILED, REFUSED)
        if self.world.chance(0.08):
            return attempt.ended(State.FAILED, Unavailable().failure)
        if self.world.chance(0.06):
            return attempt.ended(State.FAILED, Throttled(None).failure)
        if self.world.chance(0.05):
            if self.world.bug == "the_sdk_tries_again_by_itself":
                self.billed.append(attempt.id)
                return self._accepted(attempt, model)
            return self._lost(attempt, accepted=self.world.chance(0.5))
        return self._accepted(attempt, model)

    def _accepted(self, attempt: Attempt, model: Model) -> Attempt:
        self.billed.append(attempt.id)
        if model.answers_with_a_task:
            return attempt.submitted(Task(str(attempt.id)))
        return self._delivered(attempt)

    def _lost(self, attempt: Attempt, *, accepted: bool) -> Attempt:
        if accepted:
            self.billed.append(attempt.id)
        return attempt.ended(State.UNKNOWN, Unknown().failure)

    def find(self, attempt: Attempt, model: Model) -> Attempt:
        """What became of a call whose answer was lost."""
        if not model.can_be_asked:
            return attempt.ended(State.UNKNOWN, Unknown().failure)
        if attempt.id in self.billed:
            return attempt.submitted(Task(str(attempt.id)))
        return attempt.ended(State.FAILED, Unavailable().failure)

    def look(self, attempt: Attempt) -> Attempt:
        """A task, once more."""
        looks = self._looks[attempt.task.id] = self._looks.get(attempt.task.id, 0) + 1
        if looks < SLOW_LOOKS and self.world.stormy:
            return attempt
        return self._delivered(attempt)

    def _delivered(self, attempt: Attempt) -> Attempt:
        def content(index: int) -> str:
            return f"{'broken' if self.world.chance(0.04) else 'picture'}-{attempt.id}-{index}"

        return attempt.rendered(tuple(Output(index=index, url=content(index)) for index in attempt.indexes))

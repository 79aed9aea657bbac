"""The log and its consumers: unique outcomes, redelivery, doubt about what was published, loss."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from contracts.facts import Outcome
from runtime.consumption import MAX_DELIVERIES

if TYPE_CHECKING:
    from tests.simulation.world import World

TRIES = 3
BATCH = 4
REPLAYED = 6
"""How many of the last facts a new consumer of GENERATION starts with; outcomes it gets all."""
CONSUMERS = {
    "ledger-hold-requested": ("requested",),
    "ledger-settle-outcomes": ("outcome",),
    "generator-render": ("funded",),
    "generator-close-outcomes": ("outcome",),
    "storage-store": ("rendered",),
    "storage-close-outcomes": ("outcome",),
    "gateway-follow-generation": ("funded", "rendered"),
    "gateway-record-outcomes": ("outcome",),
}
ONE_BY_ONE = {"generator-render", "storage-store"}


class NotKnown(Exception):
    """Refused or timed out: whether it is stored is not said."""


class Away(Exception):
    """The log cannot be reached, or did not tell within the time."""


@dataclass(eq=False, slots=True)
class Message:
    """A stored fact."""

    number: int
    kind: str
    fact: Any


@dataclass(slots=True)
class Durable:
    """What a consumer has not acknowledged: it waits, or somebody holds it."""

    kinds: tuple[str, ...]
    waiting: list[Message] = field(default_factory=list)
    held: list[Message] = field(default_factory=list)
    deliveries: Counter[int] = field(default_factory=Counter)
    """By number, of those whose taker did not wait for what was away, but died."""


class Log:
    """Streams GENERATION and OUTCOMES, and what consumes them."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.epoch = 0
        self.is_up = True
        self.accepted: dict[tuple[int, UUID], Outcome] = {}
        """Every outcome that was ever accepted, by epoch and id."""
        self._empty()

    def _empty(self) -> None:
        self.epoch += 1
        self.number = 0
        self.stored: list[Message] = []
        self.outcomes: dict[UUID, Message] = {}
        self.consumers = {name: Durable(kinds) for name, kinds in CONSUMERS.items()}
        self.buried: list[tuple[str, Message]] = []
        """What was delivered too often to a consumer."""

    # -- publishing -------------------------------------------------------------------------------------------

    def publish(self, kind: str, fact: Any) -> None:
        """Raises Away, NotKnown."""
        if not self.is_up:
            raise Away
        if self.world.chance(0.03):
            raise NotKnown
        if kind == "outcome":
            if fact.data.generation_id in self.outcomes:
                raise NotKnown
            self.accepted.setdefault((self.epoch, fact.data.generation_id), fact)
        message = Message(self.number, kind, fact)
        self.number += 1
        self.stored.append(message)
        if kind == "outcome":
            self.outcomes[fact.data.generation_id] = message
        for durable in self.consumers.values():
            if kind in durable.kinds:
                durable.waiting.append(message)
        if self.world.chance(0.03):
            raise NotKnown

    def publish_unique(self, outcome: Outcome) -> Iterator[None]:
        """As runtime.broker does it; returns the outcome that the log keeps. Raises Away."""
        for _ in range(TRIES):
            try:
                self.publish("outcome", outcome)
                return outcome
            except (NotKnown, Away):
                yield
                kept = self.last(outcome.data.generation_id)
                if kept is not None:
                    return kept
            yield
        raise Away

    def last(self, generation_id: UUID) -> Outcome | None:
        if not self.is_up or self.world.chance(0.02):
            return None
        message = self.outcomes.get(generation_id)
        return None if message is None else message.fact

    # -- consuming --------------------------------------------------------------------------------------------

    def take(self, name: str) -> list[Message]:
        """Some of what waits, in an order of its own: streams are not ordered against each other."""
        durable = self.consumers[name]
        most = 1 if name in ONE_BY_ONE else self.world.dice.randint(1, BATCH)
        taken = []
        while durable.waiting and len(taken) < most:
            where = self.world.dice.randrange(len(durable.waiting)) if self.world.stormy else 0
            message = durable.waiting.pop(where)
            durable.deliveries[message.number] += 1
            if durable.deliveries[message.number] <= MAX_DELIVERIES:
                taken.append(message)
            else:
                self.buried.append((name, message))
        durable.held += taken
        return taken

    def acknowledge(self, name: str, messages: Sequence[Message]) -> None:
        """A lost acknowledgement brings the messages again."""
        durable = self.consumers[name]
        for message in messages:
            if message in durable.held:
                durable.held.remove(message)
                if self.world.chance(0.04) or not self.is_up:
                    durable.waiting.append(message)

    def give_back(self, name: str, messages: Sequence[Message], *, waited: bool = False) -> None:
        """`waited`: its taker lives, and tries in place."""
        durable = self.consumers[name]
        for message in messages:
            if message in durable.held:
                durable.deliveries[message.number] -= waited
                durable.held.remove(message)
                durable.waiting.append(message)

    def dig_up(self) -> None:
        """As operators do it (`darkroom dead`) once nothing dies by itself any more: all of it is delivered anew."""
        for durable in self.consumers.values():
            durable.deliveries.clear()
        buried, self.buried = self.buried, []
        for name, message in buried:
            self.consumers[name].waiting.append(message)

    def repeat(self) -> None:
        """What somebody holds, or what was said a while ago, is delivered once more."""
        durable = self.world.dice.choice(list(self.consumers.values()))
        known = [message for message in self.stored if message.kind in durable.kinds]
        if known:
            durable.waiting.append(self.world.dice.choice(known))

    @property
    def is_quiet(self) -> bool:
        return not any(durable.waiting or durable.held for durable in self.consumers.values())

    # -- faults -----------------------------------------------------------------------------------------------

    def wipe(self) -> None:
        """The disk is empty, and the watcher makes everything anew."""
        self._empty()

    def crash(self) -> None:
        """Killed: the last facts of GENERATION were not synced yet. Outcomes were, unless that is the planted bug."""
        keep = len(self.stored) - self.world.dice.randint(0, 3)
        lost = self.stored[keep:]
        if self.world.bug != "outcomes_are_synced_every_two_minutes":
            lost = [message for message in lost if message.kind != "outcome"]
        for message in lost:
            self.stored.remove(message)
            if message.kind == "outcome":
                del self.outcomes[message.fact.data.generation_id]
            for durable in self.consumers.values():
                for where in (durable.waiting, durable.held):
                    while message in where:
                        where.remove(message)

    def lose_consumer(self) -> None:
        """Deleted, and made anew by the watcher."""
        name = self.world.dice.choice(list(CONSUMERS))
        durable = Durable(CONSUMERS[name])
        known = [message for message in self.stored if message.kind in durable.kinds]
        durable.waiting = known if "outcome" in durable.kinds else known[-REPLAYED:]
        self.consumers[name] = durable

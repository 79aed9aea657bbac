"""One seed: the dice, the processes, the storm, and the calm after it."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from contracts.facts import Kind, Request
from contracts.money import UNITS_PER_CREDIT, Quote
from tests.simulation.accepting import Accepting
from tests.simulation.holding import Holding
from tests.simulation.log import Away, Log, Message, NotKnown
from tests.simulation.provider import MODELS, Provider
from tests.simulation.rendering import SUBMITTED, LeaseLost, Workshop
from tests.simulation.storing import Storing

SERVICES = ("gateway", "ledger", "generator", "storage")
REPLICAS = 2
STORM_STEPS = 260
CALM_STEPS = 6000
FAR = 2_000_000_000
DEADLY = 0.05
"""How many seeds have a generation that nobody survives."""


class HandBack(Exception):
    """Something changed meanwhile: do it again."""


class NotCalm(AssertionError):
    """Something never ends."""


@dataclass(eq=False, slots=True)
class Process:
    """One replica of a service, until it is killed."""

    service: str
    id: UUID
    paused_until: int = 0
    sent: set[UUID] = field(default_factory=set)
    """Attempts that it asked a provider for."""
    working: set[UUID] = field(default_factory=set)
    lost: set[UUID] = field(default_factory=set)
    begun_at: dict[UUID, int] = field(default_factory=dict)
    """When it wrote an intent."""
    fences: dict[UUID, int] = field(default_factory=dict)
    """Of what it is at."""
    renewed_at: dict[UUID, int] = field(default_factory=dict)
    """What its last renewal held, and when that began."""


@dataclass(eq=False, slots=True)
class Task:
    """A handler at work, and the messages that it acknowledges at its end."""

    process: Process
    steps: Iterator[object]
    consumer: str | None = None
    messages: Sequence[Message] = ()


class World:
    """Everything that a seed decides about. `bug` names what is planted."""

    def __init__(self, seed: int, bug: str | None = None) -> None:
        self.seed = seed
        self.bug = bug
        self.dice = random.Random(seed)
        self.now = 0
        self.stormy = True
        self.unfair: list[str] = []
        """Facts that were acknowledged before what they ask for was there."""
        self.wipes = 0
        self.log = Log(self)
        self.provider = Provider(self)
        self.accepting = Accepting(self)
        self.holding = Holding(self)
        self.workshop = Workshop(self)
        self.storing = Storing(self)
        self.processes = [self._process(service) for service in SERVICES for _ in range(REPLICAS)]
        self.tasks: list[Task] = []
        self.last_at_work: set[Task] | None = None
        """Who was at something when nothing was left any more."""
        self.users = [self._id() for _ in range(2)]
        for user_id in self.users:
            self.holding.open_account(user_id, self.dice.randint(2, 5) * UNITS_PER_CREDIT)
        self.wishes = [self._wish() for _ in range(self.dice.randint(2, 5))]
        fate = random.Random(f"{seed} deadly")
        self.deadly = fate.choice(self.wishes).generation_id if fate.random() < DEADLY else None
        """Whose fact kills every generator that takes it: its deadline ends it, and its neighbours are unharmed."""
        self.may_wipe = self.dice.random() < 0.3
        self._steps: dict[str, Callable[[Process, Sequence[Any]], Iterator[object]]] = {
            "ledger-hold-requested": lambda _, facts: self.holding.hold(facts),
            "ledger-settle-outcomes": lambda _, facts: self.holding.settle(facts),
            "generator-render": self.workshop.render,
            "generator-close-outcomes": lambda _, facts: self.workshop.close(facts),
            "storage-store": lambda _, facts: self.storing.store(facts),
            "storage-close-outcomes": lambda _, facts: self.storing.close(facts),
            "gateway-follow-generation": lambda _, facts: self.accepting.follow(facts),
            "gateway-record-outcomes": lambda _, facts: self.accepting.record(facts),
        }

    # -- dice -------------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """Whether a fault happens here; none does once it is calm."""
        return self.stormy and self.dice.random() < probability

    def hand_back(self) -> None:
        raise HandBack

    def _id(self) -> UUID:
        return UUID(int=self.dice.getrandbits(128), version=4)

    def _process(self, service: str) -> Process:
        return Process(service, self._id())

    def _wish(self) -> Request:
        count = self.dice.randint(1, 3)
        quote = Quote(amount=count * UNITS_PER_CREDIT, unit_price=UNITS_PER_CREDIT, price_version=1)
        return Request(
            generation_id=self._id(),
            user_id=self.dice.choice(self.users),
            kind=Kind.IMAGE,
            model=self.dice.choice(list(MODELS)),
            prompt="a wish",
            count=count,
            quote=quote,
            deadline_at=FAR,
        )

    # -- a seed -----------------------------------------------------------------------------------------------

    def run(self) -> "World":
        """The storm, then the calm. Raises NotCalm where something is left that never ends."""
        for _ in range(STORM_STEPS):
            self._step()
            if self.dice.random() < 0.09:
                self._fault()
        self.stormy = False
        self.log.is_up = True
        self.log.dig_up()
        for process in self.processes:
            process.paused_until = 0
        for _ in range(CALM_STEPS):
            self._step()
            if self._is_over():
                return self
        raise NotCalm(f"seed {self.seed}: {self._what_is_left()}")

    def _step(self) -> None:
        self.now += self.dice.choice((0, 0, 0, 1))
        roll = self.dice.random()
        if roll < 0.60 and self.tasks:
            self._advance(self.dice.choice(self.tasks))
        elif roll < 0.92:
            self._deliver()
        else:
            self._tick()

    def _deliver(self) -> None:
        names = [name for name, durable in self.log.consumers.items() if durable.waiting]
        if not names or not self.log.is_up:
            self._tick()
            return
        name = self.dice.choice(names)
        process = self._one_of(name.partition("-")[0])
        if process is None:
            return
        messages = self.log.take(name)
        if not messages:
            return
        if self.bug == "acknowledged_before_it_is_committed":
            self._acknowledge(name, messages)
        facts = [message.fact for message in messages]
        self.tasks.append(Task(process, self._steps[name](process, facts), name, messages))
        if name == "generator-render" and any(fact.data.generation_id == self.deadly for fact in facts):
            self._kill(process)

    def _tick(self) -> None:
        """Somebody's timer, or a client."""
        self.now += 1
        which = self.dice.randrange(7)
        if which == 0:
            self._begin("gateway", lambda _: self.accepting.sweep())
        elif which == 1:
            self._begin("generator", self.workshop.take_due)
        elif which == 2:
            self._begin("ledger", lambda _: self.holding.reconcile())
        elif which == 3:
            self._begin("generator", lambda _: self.workshop.stop_abandoned())
        elif which == 4:
            for process in self.processes:
                if process.service == "generator" and process.paused_until <= self.now:
                    self.workshop.renew(process)
        elif which == 5:
            wish = self.dice.choice(self.wishes)
            if wish.generation_id not in self.accepting.answered:
                self._begin("gateway", lambda _: self.accepting.accept(wish))
            elif self.chance(0.15):
                self._begin("gateway", lambda _: self.accepting.cancel(wish.generation_id))
        else:
            self.now += self.dice.randint(0, 6)

    def _begin(self, service: str, steps: Callable[[Process], Iterator[object]]) -> None:
        process = self._one_of(service)
        if process is not None:
            self.tasks.append(Task(process, steps(process)))

    def _one_of(self, service: str) -> Process | None:
        awake = [one for one in self.processes if one.service == service and one.paused_until <= self.now]
        return self.dice.choice(awake) if awake else None

    def _advance(self, task: Task) -> None:
        if task.process.paused_until > self.now:
            return
        try:
            if next(task.steps) is SUBMITTED and task.consumer is not None:
                self._acknowledge(task.consumer, task.messages)
                task.consumer = None
        except StopIteration:
            self.tasks.remove(task)
            if task.consumer is not None and self.bug != "acknowledged_before_it_is_committed":
                self._acknowledge(task.consumer, task.messages)
        except LeaseLost:
            self.tasks.remove(task)
            if task.consumer is not None:
                self.log.acknowledge(task.consumer, task.messages)
        except (Away, NotKnown, HandBack):
            self.tasks.remove(task)
            if task.consumer is not None:
                if self.bug == "an_exception_ends_the_message":
                    self._acknowledge(task.consumer, task.messages)
                else:
                    self.log.give_back(task.consumer, task.messages, waited=True)

    def _acknowledge(self, name: str, messages: Sequence[Message]) -> None:
        self.log.acknowledge(name, messages)
        self.unfair += [f"{name}: {message.fact.subject}" for message in messages if not self._is_done(name, message)]

    def _is_done(self, name: str, message: Message) -> bool:
        """Whether what a fact asks of a consumer can be seen."""
        id_ = UUID(message.fact.subject)
        work, row = self.workshop.work.get(id_), self.accepting.rows.get(id_)
        done = {
            "ledger-hold-requested": id_ in self.holding.holds,
            "ledger-settle-outcomes": id_ in self.holding.outcomes,
            # Said twice, the second is let go at once: whoever is at the first has not acknowledged it.
            "generator-render": work is not None or any(id_ in process.working for process in self.processes),
            "generator-close-outcomes": work is not None and work.outcome is not None,
            "storage-store": any(known == id_ for _, known in self.log.accepted),
            "storage-close-outcomes": id_ in self.storing.outcomes,
            "gateway-record-outcomes": row is None or row.outcome is not None,
        }
        return done.get(name, True)

    # -- faults -----------------------------------------------------------------------------------------------

    def _fault(self) -> None:
        which = self.dice.randrange(20)
        if which < 8:
            self._kill(self.dice.choice(self.processes))
        elif which < 11:
            self.dice.choice(self.processes).paused_until = self.now + self.dice.randint(1, 60)
        elif which < 14:
            self.log.repeat()
        elif which < 16:
            self.log.is_up = not self.log.is_up
        elif which < 17:
            self.log.crash()
        elif which < 18:
            self.log.lose_consumer()
        elif which == 18 and self.may_wipe:
            self.wipes += 1
            self.log.wipe()
        else:
            self.now += self.dice.randint(10, 80)

    def _kill(self, process: Process) -> None:
        """Between two effects of whatever it was at. Another one comes in its place."""
        self.processes[self.processes.index(process)] = self._process(process.service)
        for task in [task for task in self.tasks if task.process is process]:
            self.tasks.remove(task)
            if task.consumer is not None:
                self.log.give_back(task.consumer, task.messages)

    # -- the end ----------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Nothing is left, and whoever was at something then has ended. Who begins now only looks, and somebody always
        does."""
        if not self.log.is_quiet or self._what_is_left():
            self.last_at_work = None
            return False
        if self.last_at_work is None:
            self.last_at_work = set(self.tasks)
        return self.last_at_work.isdisjoint(self.tasks)

    def _what_is_left(self) -> list[str]:
        rows = [
            str(id_) for id_, row in self.accepting.rows.items() if row.outcome is None or not (row.told or self.wipes)
        ]
        unheard = [str(wish.generation_id) for wish in self.wishes if wish.generation_id not in self.accepting.answered]
        holds = [f"hold {id_}" for id_, hold in self.holding.holds.items() if hold.state == "open"]
        disputes = [f"dispute {id_}" for id_ in self.holding.disputed]
        open_attempts = [
            f"attempt {attempt.id}"
            for work in self.workshop.work.values()
            for attempt in work.attempts.values()
            if attempt.state in {"intent", "submitted"}
        ]
        epoch = [] if self.holding.known_epoch == self.log.epoch else ["the ledger knows another log"]
        return [*unheard, *rows, *holds, *disputes, *open_attempts, *epoch]

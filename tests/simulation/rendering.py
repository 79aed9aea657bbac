"""The generator's rows, and its steps around its own decisions about attempts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.facts import Ending, Funded, Outcome, Rendered, Rendering, Request, Verdict
from generator import attempts as decisions
from generator.announcements import SOURCE
from generator.attempts import CANCELLED, DEADLINE, INTERRUPTED, NOT_SENT, Attempt, State
from generator.conclusions import conclusion, said_again
from tests.simulation.provider import MODELS, Model

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

LEASE_SECONDS = 20
ARROWS = {
    (State.INTENT, State.SUBMITTED),
    (State.INTENT, State.RENDERED),
    (State.INTENT, State.FAILED),
    (State.INTENT, State.UNKNOWN),
    (State.SUBMITTED, State.RENDERED),
    (State.SUBMITTED, State.FAILED),
    (State.SUBMITTED, State.UNKNOWN),
}
SUBMITTED = object()
"""Yielded once what was paid for is written down: from here on the row carries it, and not the message."""


@dataclass(slots=True)
class Work:
    """One row. `fence` grows with every lease."""

    request: Request | None
    state: str = "open"
    process: UUID | None = None
    fence: int = 0
    lease_until: int = 0
    outcome: Outcome | None = None
    attempts: dict[UUID, Attempt] = field(default_factory=dict)


class LeaseLost(Exception):
    """Whoever has the lease now goes on."""


class Workshop:
    """Work by generation, and who works here."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.work: dict[UUID, Work] = {}
        self.backwards: list[str] = []

    # -- funded -----------------------------------------------------------------------------------------------

    def render(self, process: "Process", facts: Sequence[Funded]) -> Iterator[object]:
        request = facts[0].data
        if request.generation_id in process.working:
            return
        with self._at_work(process, request.generation_id):
            yield
            first = decisions.first_attempts(request.generation_id, request.count, 2, "simulated", process.id)
            process.begun_at |= {attempt.id: self.world.now for attempt in first}
            fence = self._claim(process, request, first)
            yield
            if fence is None:
                yield from self._say_again(request)
                return
            process.fences[request.generation_id] = fence
            if fence == 1:
                yield from self._drive(process, request, fence, {attempt.id: attempt for attempt in first})
            else:
                yield from self._take_stock(process, request, fence)

    def take_due(self, process: "Process") -> Iterator[object]:
        """Takes over one generation whose lease ran out."""
        yield
        for id_, work in self.work.items():
            if work.state == "open" and work.lease_until < self.world.now and id_ not in process.working:
                with self._at_work(process, id_):
                    self._lease(work, process)
                    process.fences[id_] = work.fence
                    yield from self._take_stock(process, work.request, work.fence)
                return

    @contextmanager
    def _at_work(self, process: "Process", generation_id: UUID) -> Iterator[None]:
        process.working.add(generation_id)
        try:
            yield
        finally:
            process.working.discard(generation_id)
            process.fences.pop(generation_id, None)

    def renew(self, process: "Process") -> None:
        """One statement prolongs the leases of what a process is at."""
        lost = {id_ for id_, fence in process.fences.items() if not self._prolong(id_, process, fence)}
        process.lost |= lost
        process.renewed_at = dict.fromkeys(process.fences.keys() - lost, self.world.now)

    def _prolong(self, generation_id: UUID, process: "Process", fence: int) -> bool:
        work = self.work[generation_id]
        if (work.process, work.fence, work.state) != (process.id, fence, "open"):
            return False
        work.lease_until = self.world.now + LEASE_SECONDS
        return True

    def _claim(self, process: "Process", request: Request, first: Sequence[Attempt]) -> int | None:
        work = self.work.get(request.generation_id)
        if work is None:
            work = self.work[request.generation_id] = Work(request)
            work.attempts = {attempt.id: attempt for attempt in first}
        elif work.state != "open" or (work.lease_until >= self.world.now and work.process != process.id):
            return None
        self._lease(work, process)
        return work.fence

    def _lease(self, work: Work, process: "Process") -> None:
        process.lost.discard(work.request.generation_id)
        work.process, work.fence, work.lease_until = process.id, work.fence + 1, self.world.now + LEASE_SECONDS

    def _take_stock(self, process: "Process", request: Request, fence: int) -> Iterator[object]:
        """Of an intent whose process is gone nobody knows whether it was sent, unless its provider can be asked."""
        model = MODELS[request.model]
        known = {}
        for attempt in list(self.work[request.generation_id].attempts.values()):  # as they were read
            unsent = attempt.process == process.id and attempt.id not in process.sent
            if attempt.state is State.INTENT and not unsent:
                yield
                known[attempt.id] = self.world.provider.find(replace(attempt, failure=INTERRUPTED), model)
            else:
                known[attempt.id] = attempt
        self._save(request, fence, known)
        yield from self._drive(process, request, fence, known)

    def _drive(self, process: "Process", request: Request, fence: int, known: dict[UUID, Attempt]) -> Iterator[object]:
        try:
            yield from self._pursue(process, request, fence, known)
        except LeaseLost:
            yield
            self._give_over(self.work[request.generation_id], known)
            raise

    def _pursue(self, process: "Process", request: Request, fence: int, known: dict[UUID, Attempt]) -> Iterator[object]:
        model = MODELS[request.model]
        while True:
            now = decisions.standing(known.values(), model.policy, time_left=self._time_left(request))
            if not now.again and now.waiting:
                self._save(request, fence, known)
                yield SUBMITTED
                for attempt in now.waiting:
                    yield
                    known[attempt.id] = self.world.provider.look(attempt)
                continue
            if not now.again:
                break
            begun = [
                attempt if attempt.state is State.INTENT else attempt.next(request.generation_id, process.id)
                for attempt in now.again
            ]
            self._save(request, fence, known, begun)
            process.begun_at |= {attempt.id: process.begun_at.get(attempt.id, self.world.now) for attempt in begun}
            for attempt in begun:
                yield  # the intent is written, and nothing is sent
                if request.generation_id in process.lost:
                    raise LeaseLost  # stopped when the leases were renewed
                known[attempt.id] = self._call(process, request.generation_id, attempt, model)
                yield  # the provider answered, and nothing is written
        self._save(request, fence, known, state="rendered" if now.delivered else "open")
        yield
        if now.delivered:
            yield from self._say(conclusion(request, known, now))
        else:
            failure = now.outputs[0].failure if now.outputs else DEADLINE
            yield from self._say(Ending(generation_id=request.generation_id, verdict=Verdict.FAILED, failure=failure))

    def _call(self, process: "Process", generation_id: UUID, attempt: Attempt, model: Model) -> Attempt:
        """Not where the lease may have run out meanwhile: others may have begun anew."""
        begun_at = process.begun_at[attempt.id]
        sure_until = max(begun_at, process.renewed_at.get(generation_id, begun_at)) + LEASE_SECONDS
        if sure_until < self.world.now and self.world.bug != "a_process_that_was_stopped_calls_all_the_same":
            return attempt.ended(State.FAILED, NOT_SENT)
        process.sent.add(attempt.id)
        return self.world.provider.call(attempt, model)

    def _time_left(self, request: Request) -> bool:
        row = self.world.accepting.rows.get(request.generation_id)
        return row is None or self.world.now < row.deadline_at

    def _save(
        self,
        request: Request,
        fence: int,
        known: dict[UUID, Attempt],
        begun: Sequence[Attempt] = (),
        state: str = "open",
    ) -> None:
        """Compares fence and state, as every write of a worker does. Raises LeaseLost."""
        work = self.work[request.generation_id]
        if (work.fence != fence or work.state != "open") and self.world.bug != "no_fence_is_compared":
            raise LeaseLost
        for attempt in known.values():
            self._write(work, attempt)
        for attempt in begun:
            work.attempts.setdefault(attempt.id, attempt)
            work.lease_until = self.world.now + LEASE_SECONDS
        work.state = state

    def _write(self, work: Work, attempt: Attempt) -> None:
        row = work.attempts[attempt.id]
        before = row.state
        if before == attempt.state or (row.task is not None and attempt.task is None):
            return
        if before not in {State.INTENT, State.SUBMITTED} and self.world.bug != "no_fence_is_compared":
            return
        if (before, attempt.state) not in ARROWS:
            self.backwards.append(f"{attempt.id}: {before} → {attempt.state}")
        work.attempts[attempt.id] = attempt

    def _give_over(self, work: Work, known: dict[UUID, Attempt]) -> None:
        """Tasks that came to whoever had lost the lease, whatever was thought of them meanwhile."""
        for attempt in known.values():
            row = work.attempts[attempt.id]
            if attempt.state is State.SUBMITTED and row.task is None and row.state is not State.RENDERED:
                work.attempts[attempt.id] = attempt

    def _say(self, said: Rendering | Ending) -> Iterator[object]:
        if isinstance(said, Rendering):
            self.world.log.publish("rendered", Rendered.of(said, SOURCE, None))
            return
        kept = yield from self.world.log.publish_unique(Outcome.of(said, SOURCE, None))
        yield
        self._close(kept)

    def _say_again(self, request: Request) -> Iterator[object]:
        work = self.work[request.generation_id]
        if work.outcome is not None:
            yield from self.world.log.publish_unique(work.outcome)
        elif work.state == "rendered":
            yield from self._say(said_again(request, work.attempts.values()))

    # -- outcomes ---------------------------------------------------------------------------------------------

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[None]:
        yield
        for outcome in outcomes:
            self._close(outcome)

    def _close(self, outcome: Outcome) -> None:
        work = self.work.setdefault(outcome.data.generation_id, Work(None))
        work.state, work.outcome = "closed", work.outcome or outcome
        for attempt in list(work.attempts.values()):
            if attempt.state is State.INTENT:
                self._write(work, attempt.ended(State.UNKNOWN, CANCELLED))

    def stop_abandoned(self) -> Iterator[None]:
        """Tasks that nobody waits for."""
        yield
        for work in self.work.values():
            last = {
                attempt.item: attempt.number for attempt in sorted(work.attempts.values(), key=attrgetter("number"))
            }
            for attempt in list(work.attempts.values()):
                abandoned = work.state == "closed" or attempt.number < last[attempt.item]
                if attempt.state is State.SUBMITTED and abandoned:
                    self._write(work, attempt.ended(State.UNKNOWN, CANCELLED))


def most_calls(model: Model) -> int:
    """How often one submission may have been paid."""
    return 2 if model.policy == "resubmit_once" else 1

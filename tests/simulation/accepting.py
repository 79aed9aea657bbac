"""The gateway's rows, its steps and its sweeper, and what clients were told."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.facts import Ending, Event, Failure, Outcome, Request, Requested, Verdict
from gateway.sweeper import next_step
from gateway.turns import Due
from tests.simulation.log import Away, NotKnown

if TYPE_CHECKING:
    from tests.simulation.world import World

SOURCE = "gateway"
DEADLINE_SECONDS = 150
FIRST_DRIVE_SECONDS = 10
LONGEST_PAUSE_SECONDS = 60
DRIVES_BEFORE_DEADLINE = 3
ONWARDS = {"pending": 0, "processing": 1}


@dataclass(slots=True)
class Row:
    """A generation as its client sees it."""

    request: Request
    deadline_at: int
    next_drive_at: int
    status: str = "pending"
    drives: int = 0
    cancel_asked_at: int | None = None
    outcome: Outcome | None = None
    told: list[str] = field(default_factory=list)


class Accepting:
    """Rows by id, in the order in which they were committed."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.rows: dict[UUID, Row] = {}
        self.answered: set[UUID] = set()
        """What a client had a 202 for."""
        self.backwards: list[UUID] = []
        self._last_swept = UUID(int=0)

    def accept(self, request: Request) -> Iterator[None]:
        """Under one key once; the client asks again until it has an answer."""
        yield
        id_ = request.generation_id
        if id_ not in self.rows:
            self.rows[id_] = Row(request, self.world.now + DEADLINE_SECONDS, self.world.now + FIRST_DRIVE_SECONDS)
        yield
        self.answered.add(id_)
        yield
        if self.world.log.is_up:
            with contextlib.suppress(NotKnown, Away):
                self.world.log.publish("requested", Requested.of(request, SOURCE, None))

    def cancel(self, generation_id: UUID) -> Iterator[None]:
        yield
        row = self.rows.get(generation_id)
        if row is None or row.outcome is not None:
            return
        row.cancel_asked_at = row.cancel_asked_at or self.world.now
        row.next_drive_at = self.world.now
        yield
        kept = yield from self.world.log.publish_unique(_ending(generation_id, Verdict.CANCELLED))
        yield
        self._finish(kept)

    def follow(self, facts: Sequence[Event]) -> Iterator[None]:
        yield
        for fact in facts:
            row = self.rows.get(UUID(fact.subject))
            if row is not None and row.outcome is None:
                self._move(row, "processing")
                row.next_drive_at = max(row.next_drive_at, self.world.now + FIRST_DRIVE_SECONDS)

    def record(self, outcomes: Sequence[Outcome]) -> Iterator[None]:
        yield
        for outcome in outcomes:
            self._finish(outcome)
        yield
        for outcome in outcomes:
            row = self.rows.get(outcome.data.generation_id)
            if row is not None and row.outcome is not None:
                if not self.world.log.is_up:
                    raise Away
                row.told.append(row.outcome.data.verdict.value)
                yield

    def _finish(self, outcome: Outcome) -> None:
        row = self.rows.get(outcome.data.generation_id)
        if row is None or row.outcome is not None:
            return
        row.outcome = outcome
        self._move(row, outcome.data.verdict.value)

    def _move(self, row: Row, status: str) -> None:
        if ONWARDS.get(status, 2) < ONWARDS.get(row.status, 2):
            self.backwards.append(row.request.generation_id)
        row.status = status

    def sweep(self) -> Iterator[None]:
        """Drives or ends what does not move."""
        yield
        if not self.world.log.is_up:
            return
        for row in list(self.rows.values()):
            if row.outcome is not None or row.next_drive_at >= self.world.now:
                continue
            id_ = row.request.generation_id
            if self.world.bug == "the_sweeper_reads_on_from_the_last_id":
                if id_ <= self._last_swept:
                    continue
                self._last_swept = id_
            due = Due(
                SimpleNamespace(cancel_asked_at=row.cancel_asked_at), row.drives, self.world.now > row.deadline_at
            )
            step = next_step(due, DRIVES_BEFORE_DEADLINE)
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_DRIVE_SECONDS * 2 ** (row.drives + 1))
            row.next_drive_at = self.world.now + (FIRST_DRIVE_SECONDS if due.past_deadline else pause)
            yield
            if step == "drive":
                with contextlib.suppress(NotKnown, Away):
                    self.world.log.publish("requested", Requested.of(row.request, SOURCE, None))
                    row.drives += 1
                continue
            verdict = Verdict.CANCELLED if step == "cancel" else Verdict.FAILED
            kept = yield from self.world.log.publish_unique(_ending(id_, verdict))
            yield
            yield from self.record([kept])


def _ending(generation_id: UUID, verdict: Verdict) -> Outcome:
    failure = None
    if verdict is Verdict.FAILED:
        failure = Failure(code="deadline", message="The generation did not finish in time. Nothing was charged.")
    return Outcome.of(Ending(generation_id=generation_id, verdict=verdict, failure=failure), SOURCE, None)

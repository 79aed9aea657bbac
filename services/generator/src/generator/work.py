"""The work and attempt rows: who works on a generation, what was paid for it, how it ended.

One row per generation holds the lease: process, fence and database time. Every write of a worker compares the fence
and the state, so that one who lost the lease, or whose generation has an outcome, changes nothing.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import TextClause

from contracts.facts import Failure, Kind, Outcome, Output, Request
from contracts.money import Usage
from contracts.talking import Call
from generator import statements
from generator.attempts import CANCELLED, LEAST_SECONDS, Attempt, State
from generator.providers.interface import Task
from runtime.database import Database, Row, Together

INTENT_LEFT_SECONDS = 0.001
"""A lease that is given back with an intent under it, of which the next one asks the provider: it is over at once, and
the row still says that somebody was at it, so that an outcome that comes before ends the intent as well."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a generation, for as long as nobody holds a higher fence."""

    request: Request
    traceparent: str | None
    fence: int
    remaining_seconds: float
    """Until the generation's deadline, by the database's clock, when the lease was taken."""

    @property
    def fresh(self) -> bool:
        """Whether nobody worked on it before."""
        return self.fence == 1


@dataclass(frozen=True, slots=True)
class Standstill:
    """A generation that is not ours to work on."""

    state: str
    outcome: bytes | None
    reused: UUID | None
    """The earlier generation that it is answered from, where it is."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A lease that is wanted, and the intents to write with it where it is the first."""

    request: Request
    traceparent: str | None
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class _Saving:
    """What is to be written under a lease."""

    lease: Lease
    ended: Sequence[Attempt]
    begun: Sequence[Attempt]
    state: str
    lease_seconds: float | None
    """How long the lease lasts from now; 0 gives it back, None leaves it as it is."""
    pause_seconds: float

    @property
    def generation_id(self) -> UUID:
        return self.lease.request.generation_id


class Work:
    """The rows, as one process sees them."""

    def __init__(self, database: Database, process: UUID, lease_seconds: float) -> None:
        self._database = database
        self.process = process
        self.lease_seconds = lease_seconds
        self.renewed_at: dict[UUID, float] = {}
        """When the lease of each generation was last prolonged, of those that the last renewal held, on this process's
        monotonic clock."""
        self._claims = Together(self._claim_all)
        self._savings = Together(self._save_all)

    def surely_holds(self, generation_id: UUID, attempt: Attempt) -> bool:
        """Whether the lease that an attempt was begun under cannot have run out by this process's own clock."""
        held_at = max(attempt.begun_at, self.renewed_at.get(generation_id, attempt.begun_at))
        return time.monotonic() - held_at < self.lease_seconds

    async def claim(self, request: Request, traceparent: str | None, attempts: Sequence[Attempt]) -> Lease | None:
        """Inserts the work with its first intents, or takes over what nobody works on; None where neither is possible.

        No intent is written where too little time is left to make use of it.
        """
        return await self._claims(_Claim(request, traceparent, attempts))

    async def _claim_all(self, claims: Sequence[_Claim]) -> list[Lease | None]:
        begun = [(claim.request.generation_id, attempt) for claim in claims for attempt in claim.attempts]
        values = {
            "generation_ids": [claim.request.generation_id for claim in claims],
            "requests": [claim.request.model_dump_json() for claim in claims],
            "deadlines": [claim.request.deadline_at for claim in claims],
            "traceparents": [claim.traceparent for claim in claims],
            "process": self.process,
            "lease_seconds": self.lease_seconds,
            "least_seconds": LEAST_SECONDS,
            **_intents(begun),
        }
        async with self._database.statement() as connection:
            claimed = {row.generation_id: row for row in await connection.execute(statements.CLAIM, values)}
        return [
            Lease(claim.request, claim.traceparent, row.fence, row.remaining_seconds)
            if (row := claimed.get(claim.request.generation_id))
            else None
            for claim in claims
        ]

    async def look(self, generation_id: UUID) -> Standstill | None:
        row = await self._first(statements.LOOK, generation_id=generation_id)
        if row is None:
            return None
        return Standstill(row.state, row.outcome.encode() if row.outcome else None, row.reused)

    async def attempts(self, generation_id: UUID) -> list[Attempt]:
        async with self._database.statement() as connection:
            found = await connection.execute(statements.ATTEMPTS, {"generation_id": generation_id})
            return [_attempt(row) for row in found]

    async def save(
        self,
        lease: Lease,
        ended: Iterable[Attempt],
        begun: Sequence[Attempt] = (),
        *,
        state: str = "open",
        lease_seconds: float | None = None,
        pause_seconds: float = 0.0,
    ) -> bool:
        """Records how attempts ended and which begin now; False, and nothing recorded, where the lease is lost.

        A lease of 0 seconds is given back, None leaves it as it is, but where an attempt begins: until when it may be
        sent is reckoned from there, so the lease is as well.

        Saying the same twice is harmless: after a lost connection nobody knows whether it was recorded.
        """
        generation_id = lease.request.generation_id
        if begun and lease_seconds is None:
            lease_seconds = self.lease_seconds
        if await self._savings(_Saving(lease, list(ended), begun, state, lease_seconds, pause_seconds)):
            return True
        found = await self._first(statements.LOOK, generation_id=generation_id)
        return found is not None and state == "rendered" and (found.state, found.fence) == (state, lease.fence)

    async def _save_all(self, savings: Sequence[_Saving]) -> list[bool]:
        ended = [attempt for saving in savings for attempt in saving.ended]
        begun = [(saving.generation_id, attempt) for saving in savings for attempt in saving.begun]
        values = {
            "generation_ids": [saving.generation_id for saving in savings],
            "fences": [saving.lease.fence for saving in savings],
            "work_states": [saving.state for saving in savings],
            "leases_seconds": [saving.lease_seconds for saving in savings],
            "pauses_seconds": [saving.pause_seconds for saving in savings],
            "process": self.process,
            "ended_ids": [attempt.id for attempt in ended],
            "states": [attempt.state.value for attempt in ended],
            "results": [_result_json(attempt) for attempt in ended],
            "tasks": [attempt.task.id if attempt.task else None for attempt in ended],
            "costs_micros": [attempt.task.cost_micros if attempt.task else None for attempt in ended],
            "errors": [attempt.failure.model_dump_json() if attempt.failure else None for attempt in ended],
            "numbers": [attempt.number for _, attempt in begun],
            **_intents(begun),
        }
        async with self._database.statement() as connection:
            saved = {row.generation_id for row in await connection.execute(statements.SAVE, values)}
        return [saving.generation_id in saved for saving in savings]

    async def close(self, outcomes: Sequence[Outcome]) -> bool:
        """Records the outcomes, the first of an id for ever, also where no work was; ends what was being tried.

        Whether anything was: tasks that still run at their provider are `abandoned` now.
        """
        by_id = {outcome.data.generation_id: outcome.encode().decode() for outcome in outcomes}
        async with self._database.statement() as connection:
            closed = await connection.execute(
                statements.CLOSE, {"generation_ids": list(by_id), "outcomes": list(by_id.values())}
            )
            interrupted = [row.generation_id for row in closed if row.interrupted]
            if interrupted:
                # A statement of its own: the first waited for whoever was just writing intents, this one sees them.
                await connection.execute(
                    statements.GIVE_UP, {"generation_ids": interrupted, "error": CANCELLED.model_dump_json()}
                )
        return bool(interrupted)

    async def renew(self, fences: dict[UUID, int], lease_seconds: float) -> list[UUID]:
        """Prolongs the leases of these generations; returns those that are lost or have an outcome."""
        async with self._database.statement() as connection:
            lost = await connection.execute(
                statements.RENEW,
                {
                    "generation_ids": list(fences),
                    "fences": list(fences.values()),
                    "process": self.process,
                    "lease_seconds": lease_seconds,
                },
            )
            return [row.generation_id for row in lost]

    async def release(self, generation_ids: Sequence[UUID]) -> None:
        """Gives leases back as they are; others go on at once."""
        async with self._database.statement() as connection:
            await connection.execute(
                statements.RELEASE, {"generation_ids": list(generation_ids), "process": self.process}
            )

    async def abandoned(self, rows: int) -> list[tuple[Request, Attempt]]:
        """Some of the tasks that run at their provider and that nobody waits for any more.

        One that this version cannot read is left to another; it keeps no other from being stopped.
        """
        tasks = []
        async with self._database.statement() as connection:
            for row in await connection.execute(statements.ABANDONED, {"rows": rows}):
                try:
                    tasks.append((Request.model_validate_json(row.request), _attempt(row)))
                except ValueError as error:
                    log.error("task.unreadable", attempt_id=str(row.id), error=type(error).__name__)
        return tasks

    async def rendered_task(self, generation_id: UUID, index: int) -> tuple[Request, Attempt] | None:
        """The task that an output came from; None where it came from none."""
        row = await self._first(statements.RENDERED_TASK, generation_id=generation_id, index=index)
        return None if row is None else (Request.model_validate_json(row.request), _attempt(row))

    async def take_result(self, generation_id: UUID, attempt_id: UUID, provider: str, output: Output) -> None:
        """What somebody else has made, as an attempt of its own; the work is done where it was open. Harmless twice."""
        values = {
            "generation_id": generation_id,
            "id": attempt_id,
            "provider": provider,
            "process": self.process,
            "result": f"[{output.model_dump_json(exclude_none=True)}]",
        }
        async with self._database.statement() as connection:
            await connection.execute(statements.TAKE_RESULT, values)

    async def rendered(self, generation_id: UUID) -> tuple[Request, str | None] | None:
        """The request of a generation that is rendered and has no outcome yet, and its trace context."""
        row = await self._first(statements.REQUESTED, generation_id=generation_id)
        return None if row is None else (Request.model_validate_json(row.request), row.traceparent)

    async def record_stopped(self, attempt: Attempt) -> None:
        """How an abandoned task ended."""
        async with self._database.statement() as connection:
            error = attempt.failure.model_dump_json() if attempt.failure else None
            await connection.execute(
                statements.STOPPED, {"id": attempt.id, "state": attempt.state.value, "error": error}
            )

    async def record_late(self, attempt: Attempt, task: Task) -> bool:
        """The task of an attempt whose generation is not ours any more; False where it has one already."""
        values = {"id": attempt.id, "task": task.id, "cost_micros": task.cost_micros}
        return await self._first(statements.LATE, **values) is not None

    async def take_due(self, rows: int, running: Sequence[UUID]) -> list[Lease]:
        """Takes over at most `rows` open generations that wait for somebody, none of them running here.

        One whose request this version cannot read is left to another; it keeps no other from being taken.
        """
        leases = []
        async with self._database.statement() as connection:
            taken = await connection.execute(
                statements.TAKE_DUE,
                {"rows": rows, "running": running, "process": self.process, "lease_seconds": self.lease_seconds},
            )
            for row in taken:
                try:
                    request = Request.model_validate_json(row.request)
                except ValidationError as error:
                    log.error("work.unreadable", generation_id=str(row.generation_id), problems=error.error_count())
                else:
                    leases.append(Lease(request, row.traceparent, row.fence, row.remaining_seconds))
        return leases

    async def _first(self, statement: TextClause, **parameters: Any) -> Row | None:
        async with self._database.statement() as connection:
            return (await connection.execute(statement, parameters)).first()


def _intents(begun: Sequence[tuple[UUID, Attempt]]) -> dict[str, Any]:
    """The columns of attempts that begin, each of the generation beside it."""
    return {
        "ids": [attempt.id for _, attempt in begun],
        "attempted": [generation_id for generation_id, _ in begun],
        "items": [attempt.item for _, attempt in begun],
        "first_indexes": [attempt.first_index for _, attempt in begun],
        "counts": [attempt.count for _, attempt in begun],
        "providers": [attempt.provider for _, attempt in begun],
        "own_keys": [attempt.own_key for _, attempt in begun],
        "models": [attempt.model for _, attempt in begun],
        "kinds": [attempt.kind and attempt.kind.value for _, attempt in begun],
    }


def _attempt(row: Row) -> Attempt:
    result = json.loads(row.result) if row.result else []
    written = result if isinstance(result, dict) else {}
    return Attempt(
        id=row.id,
        item=row.item,
        number=row.number,
        first_index=row.first_index,
        count=row.outputs_count,
        provider=row.provider,
        own_key=row.own_key,
        process=row.process,
        model=row.model,
        kind=Kind(row.kind) if row.kind else None,
        state=State(row.state),
        task=Task(row.task, row.provider_cost_micros) if row.task else None,
        outputs=() if written else tuple(map(Output.model_validate, result)),
        text=written.get("text"),
        calls=tuple(map(Call.model_validate, written.get("calls", ()))),
        usage=Usage.model_validate(written["usage"]) if written.get("usage") else None,
        cut_by=written.get("cut_by"),
        failure=Failure.model_validate_json(row.error) if row.error else None,
        begun_at=time.monotonic() - row.age_seconds,
    )


def _result_json(attempt: Attempt) -> str | None:
    """A list of outputs, or what was written."""
    if attempt.text is not None:
        written: dict[str, Any] = {"text": attempt.text, "usage": attempt.usage and attempt.usage.model_dump()}
        if attempt.calls:
            written["calls"] = [call.model_dump() for call in attempt.calls]
        if attempt.cut_by is not None:
            written["cut_by"] = attempt.cut_by
        return json.dumps(written)
    if not attempt.outputs:
        return None
    return f"[{','.join(output.model_dump_json(exclude_none=True) for output in attempt.outputs)}]"

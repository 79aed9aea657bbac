"""The work and attempt rows: who works on a generation, what was paid for it, how it ended.

One row per generation holds the lease: process, fence and database time. Every write of a worker compares the fence
and the state, so that one who lost the lease, or whose generation has an outcome, changes nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import TextClause, text

from contracts.facts import Failure, Outcome, Output, Request
from generator.attempts import LEAST_SECONDS, Attempt, State
from runtime.database import Database, Row, Together

log = structlog.get_logger()

# Both for several generations at once, locked in the order of their ids, so that two processes never wait in a circle.
_CLAIM = text("""
    WITH claimed AS (
        INSERT INTO work AS existing
            (generation_id, state, request, deadline_at, traceparent, lease_process, fence, lease_until)
        SELECT new.generation_id, 'open', CAST(new.request AS jsonb), new.deadline_at, new.traceparent, :process, 1,
            now() + make_interval(secs => :lease_seconds)
        FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:requests AS text[]), CAST(:deadlines AS timestamptz[]),
            CAST(:traceparents AS text[])) AS new (generation_id, request, deadline_at, traceparent)
        ORDER BY new.generation_id
        ON CONFLICT (generation_id) DO UPDATE SET
            lease_process = excluded.lease_process, fence = existing.fence + 1, lease_until = excluded.lease_until
        WHERE existing.state = 'open' AND existing.not_before <= now()
            AND (existing.lease_until < now() OR existing.lease_process = excluded.lease_process)
        RETURNING generation_id, fence, EXTRACT(EPOCH FROM deadline_at - now())::float8 AS remaining_seconds
    ), begun AS (
        INSERT INTO attempts (id, generation_id, item, number, first_index, count, state, provider, process, fence)
        SELECT attempt.id, attempt.generation_id, attempt.item, 1, attempt.first_index, attempt.count, 'intent',
            attempt.provider, :process, 1
        FROM claimed JOIN unnest(CAST(:ids AS uuid[]), CAST(:attempted AS uuid[]), CAST(:items AS int[]),
            CAST(:first_indexes AS int[]), CAST(:counts AS int[]), CAST(:providers AS text[]))
            AS attempt (id, generation_id, item, first_index, count, provider) USING (generation_id)
        WHERE claimed.fence = 1 AND claimed.remaining_seconds > :least_seconds
    )
    SELECT generation_id, fence, remaining_seconds FROM claimed
""")
_LOOK = text("""
    SELECT state, fence, outcome::text AS outcome FROM work WHERE generation_id = :generation_id
""")
_ATTEMPTS = text("""
    SELECT id, item, number, first_index, count AS outputs_count, state, provider, process, result::text AS result,
        error::text AS error
    FROM attempts WHERE generation_id = :generation_id ORDER BY item, number
""")
_SAVE = text("""
    WITH saved AS (
        SELECT * FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:fences AS int[]), CAST(:work_states AS text[]),
            CAST(:released AS boolean[]), CAST(:pauses_seconds AS float8[]))
            AS saved (generation_id, fence, state, released, pause_seconds)
    ), locked AS MATERIALIZED (
        SELECT generation_id FROM work
        WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) ORDER BY generation_id FOR UPDATE
    ), mine AS (
        UPDATE work SET
            state = saved.state,
            lease_process = CASE WHEN saved.released THEN NULL ELSE lease_process END,
            lease_until = CASE WHEN saved.released THEN now() ELSE lease_until END,
            not_before = now() + make_interval(secs => saved.pause_seconds)
        FROM saved JOIN locked USING (generation_id)
        WHERE work.generation_id = saved.generation_id AND work.fence = saved.fence AND work.state = 'open'
        RETURNING work.generation_id, work.fence
    ), ended AS (
        UPDATE attempts SET state = result.state, result = CAST(result.result AS jsonb),
            error = CAST(result.error AS jsonb), ended_at = now()
        FROM mine, unnest(CAST(:ended_ids AS uuid[]), CAST(:states AS text[]), CAST(:results AS text[]),
            CAST(:errors AS text[])) AS result (id, state, result, error)
        WHERE attempts.id = result.id AND attempts.generation_id = mine.generation_id AND attempts.state = 'intent'
    ), begun AS (
        INSERT INTO attempts (id, generation_id, item, number, first_index, count, state, provider, process, fence)
        SELECT attempt.id, mine.generation_id, attempt.item, attempt.number, attempt.first_index, attempt.count,
            'intent', attempt.provider, :process, mine.fence
        FROM mine JOIN unnest(CAST(:ids AS uuid[]), CAST(:attempted AS uuid[]), CAST(:items AS int[]),
            CAST(:numbers AS int[]), CAST(:first_indexes AS int[]), CAST(:counts AS int[]),
            CAST(:providers AS text[]))
            AS attempt (id, generation_id, item, number, first_index, count, provider) USING (generation_id)
        ON CONFLICT (id) DO NOTHING
    )
    SELECT generation_id FROM mine
""")
_RENEW = text("""
    WITH held AS (
        SELECT generation_id, fence FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:fences AS int[]))
            AS held (generation_id, fence)
    ), locked AS MATERIALIZED (
        SELECT generation_id FROM work
        WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) ORDER BY generation_id FOR UPDATE
    ), renewed AS (
        UPDATE work SET lease_until = now() + make_interval(secs => :lease_seconds)
        FROM held JOIN locked USING (generation_id)
        WHERE work.generation_id = held.generation_id AND work.fence = held.fence AND work.state = 'open'
            AND work.lease_process = :process
    )
    SELECT work.generation_id FROM work JOIN held USING (generation_id)
    WHERE work.state = 'closed' OR work.fence <> held.fence
""")
_TAKE_DUE = text("""
    WITH due AS (
        SELECT generation_id FROM work
        WHERE state = 'open' AND lease_until < now() AND not_before <= now()
            AND generation_id <> ALL (CAST(:running AS uuid[]))
        ORDER BY lease_until LIMIT :rows FOR UPDATE SKIP LOCKED
    )
    UPDATE work SET lease_process = :process, fence = fence + 1,
        lease_until = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE work.generation_id = due.generation_id
    RETURNING work.generation_id, work.fence, work.request::text AS request, work.traceparent,
        EXTRACT(EPOCH FROM work.deadline_at - now())::float8 AS remaining_seconds
""")
_CLOSE = text("""
    INSERT INTO work AS existing (generation_id, state, outcome, fence)
    SELECT ended.generation_id, 'closed', CAST(ended.outcome AS jsonb), 0
    FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:outcomes AS text[])) AS ended (generation_id, outcome)
    ORDER BY ended.generation_id
    ON CONFLICT (generation_id) DO UPDATE SET
        state = 'closed', outcome = COALESCE(existing.outcome, excluded.outcome)
    RETURNING generation_id, lease_process IS NOT NULL AS interrupted
""")
_GIVE_UP = text("""
    UPDATE attempts SET state = 'unknown', error = CAST(:error AS jsonb), ended_at = now()
    WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) AND state = 'intent'
""")

CANCELLED = Failure(code="cancelled", message="The generation ended while the provider was at work.")


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
    release: bool
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
        self._claims = Together(self._claim_all)
        self._savings = Together(self._save_all)

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
            claimed = {row.generation_id: row for row in await connection.execute(_CLAIM, values)}
        return [
            Lease(claim.request, claim.traceparent, row.fence, row.remaining_seconds)
            if (row := claimed.get(claim.request.generation_id))
            else None
            for claim in claims
        ]

    async def look(self, generation_id: UUID) -> Standstill | None:
        row = await self._first(_LOOK, generation_id=generation_id)
        if row is None:
            return None
        return Standstill(row.state, row.outcome.encode() if row.outcome else None)

    async def attempts(self, generation_id: UUID) -> list[Attempt]:
        async with self._database.statement() as connection:
            found = await connection.execute(_ATTEMPTS, {"generation_id": generation_id})
            return [_attempt(row) for row in found]

    async def save(
        self,
        lease: Lease,
        ended: Iterable[Attempt],
        begun: Sequence[Attempt] = (),
        *,
        state: str = "open",
        release: bool = False,
        pause_seconds: float = 0.0,
    ) -> bool:
        """Records how attempts ended and which begin now; False, and nothing recorded, where the lease is lost.

        Saying the same twice is harmless: after a lost connection nobody knows whether it was recorded.
        """
        generation_id = lease.request.generation_id
        if await self._savings(_Saving(lease, list(ended), begun, state, release, pause_seconds)):
            return True
        found = await self._first(_LOOK, generation_id=generation_id)
        return found is not None and state == "rendered" and (found.state, found.fence) == (state, lease.fence)

    async def _save_all(self, savings: Sequence[_Saving]) -> list[bool]:
        ended = [attempt for saving in savings for attempt in saving.ended]
        begun = [(saving.generation_id, attempt) for saving in savings for attempt in saving.begun]
        values = {
            "generation_ids": [saving.generation_id for saving in savings],
            "fences": [saving.lease.fence for saving in savings],
            "work_states": [saving.state for saving in savings],
            "released": [saving.release for saving in savings],
            "pauses_seconds": [saving.pause_seconds for saving in savings],
            "process": self.process,
            "ended_ids": [attempt.id for attempt in ended],
            "states": [attempt.state.value for attempt in ended],
            "results": [_outputs_json(attempt.outputs) for attempt in ended],
            "errors": [attempt.failure.model_dump_json() if attempt.failure else None for attempt in ended],
            "numbers": [attempt.number for _, attempt in begun],
            **_intents(begun),
        }
        async with self._database.statement() as connection:
            saved = {row.generation_id for row in await connection.execute(_SAVE, values)}
        return [saving.generation_id in saved for saving in savings]

    async def close(self, outcomes: Sequence[Outcome]) -> None:
        """Records the outcomes, the first of an id for ever, also where no work was; ends what was being tried."""
        by_id = {outcome.data.generation_id: outcome.encode().decode() for outcome in outcomes}
        async with self._database.statement() as connection:
            closed = await connection.execute(_CLOSE, {"generation_ids": list(by_id), "outcomes": list(by_id.values())})
            interrupted = [row.generation_id for row in closed if row.interrupted]
            if interrupted:
                # A statement of its own: the first waited for whoever was just writing intents, this one sees them.
                await connection.execute(
                    _GIVE_UP, {"generation_ids": interrupted, "error": CANCELLED.model_dump_json()}
                )

    async def renew(self, fences: dict[UUID, int]) -> list[UUID]:
        """Prolongs the leases of these generations; returns those that are lost or have an outcome."""
        async with self._database.statement() as connection:
            lost = await connection.execute(
                _RENEW,
                {
                    "generation_ids": list(fences),
                    "fences": list(fences.values()),
                    "process": self.process,
                    "lease_seconds": self.lease_seconds,
                },
            )
            return [row.generation_id for row in lost]

    async def take_due(self, rows: int, running: Sequence[UUID]) -> list[Lease]:
        """Takes over at most `rows` open generations that wait for somebody, none of them running here.

        One whose request this version cannot read is left to another; it keeps no other from being taken.
        """
        leases = []
        async with self._database.statement() as connection:
            taken = await connection.execute(
                _TAKE_DUE,
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
    }


def _attempt(row: Row) -> Attempt:
    return Attempt(
        id=row.id,
        item=row.item,
        number=row.number,
        first_index=row.first_index,
        count=row.outputs_count,
        provider=row.provider,
        process=row.process,
        state=State(row.state),
        outputs=tuple(map(Output.model_validate, json.loads(row.result))) if row.result else (),
        failure=Failure.model_validate_json(row.error) if row.error else None,
    )


def _outputs_json(outputs: Sequence[Output]) -> str | None:
    if not outputs:
        return None
    return f"[{','.join(output.model_dump_json(exclude_none=True) for output in outputs)}]"

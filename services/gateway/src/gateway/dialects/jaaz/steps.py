"""Turns in which a model may draw, as rows: rounds of words, each with the calls of tools that it made.

A turn begins with what a user said. Each round is a text; what it calls for are generations of their own; when all of
these are over the next round is told of them, and a round that calls for nothing ends the turn. The id of each step
follows from the turn's, so that none is begun twice, whoever goes on and whenever.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import text

from contracts.facts import Asset, Verdict
from contracts.talking import Call
from gateway.identity import Caller
from gateway.records import COLUMNS, Generation, generation_of
from gateway.refusals import AlreadyFinished, Refusal
from runtime.database import Connection, Database

LOOK_AGAIN_SECONDS = 5.0
"""How long a turn is left to whoever works on it before others look."""
TURN_SECONDS = 3600
"""When what still waits for its turn is given up."""
MAX_DUE = 50

_BEGIN = text("""
    INSERT INTO agent_turns (generation_id, user_id, session_id, canvas_id, api_key_id, next_look_at, give_up_at)
    VALUES (:turn_id, :user_id, :session_id, :canvas_id, CAST(:api_key_id AS uuid),
        now() + make_interval(secs => :look_again_seconds), now() + make_interval(secs => :turn_seconds))
""")
_STEP = text("""
    INSERT INTO agent_steps (id, turn_id, round, call, refusal)
    VALUES (:id, :turn_id, :round, CAST(:call AS smallint), CAST(:refusal AS jsonb))
    ON CONFLICT (id) DO NOTHING RETURNING id
""")
_TURN = text("""
    SELECT generation_id, user_id, session_id, canvas_id, state, api_key_id, give_up_at < now() AS is_late
    FROM agent_turns WHERE generation_id = :turn_id
""")
_STEPS = text("""
    SELECT id, turn_id, round, call, refusal::text AS refusal, is_told, is_placed FROM agent_steps
    WHERE turn_id = ANY(CAST(:turn_ids AS uuid[])) ORDER BY turn_id, round, call NULLS FIRST
""")
_GENERATIONS = text(f"SELECT {COLUMNS} FROM generations WHERE id = ANY(CAST(:ids AS uuid[]))")  # noqa: S608
_TURNS_OF = text("SELECT DISTINCT turn_id FROM agent_steps WHERE id = ANY(CAST(:ids AS uuid[])) AND call IS NOT NULL")
_TURN_OF = text("SELECT turn_id FROM agent_steps WHERE id = :id")
_TOLD = text("""
    UPDATE agent_steps SET is_told = true, is_placed = :is_placed WHERE id = :id AND NOT is_told RETURNING id
""")
_END = text("""
    UPDATE agent_turns SET state = 'done' WHERE generation_id = :turn_id AND state <> 'done' RETURNING generation_id
""")
_STOP = text("""
    UPDATE agent_turns SET state = 'stopping', next_look_at = now()
    WHERE user_id = :user_id AND session_id = :session_id AND state = 'open' RETURNING generation_id
""")
_PUT_OFF = text("""
    UPDATE agent_turns SET next_look_at = now() + make_interval(secs => :seconds) WHERE generation_id = :turn_id
""")
# Whoever takes one puts it off: of many processes one looks at it.
_DUE = text("""
    WITH due AS (
        SELECT generation_id AS due_id FROM agent_turns WHERE state <> 'done' AND next_look_at < now()
        ORDER BY next_look_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE agent_turns SET next_look_at = now() + make_interval(secs => :look_again_seconds)
    FROM due WHERE generation_id = due_id RETURNING generation_id
""")


@dataclass(frozen=True, slots=True)
class Step:
    """A round's words (`call` is None), or one of the calls that they made: a generation, or why there is none."""

    id: UUID
    round: int
    call: int | None
    refusal: dict[str, Any] | None
    is_told: bool
    is_placed: bool
    """Whether what was made was put on the canvas; it says nothing before that was told."""
    generation: Generation | None

    @property
    def is_over(self) -> bool:
        return self.refusal is not None or self.generation is None or self.generation.is_final

    @property
    def calls(self) -> tuple[Call, ...]:
        """What the words call for."""
        outcome = self.generation.outcome if self.generation else None
        return outcome.data.calls if outcome and outcome.data.verdict is Verdict.COMPLETED else ()

    @property
    def asset(self) -> Asset | None:
        """What was made."""
        outcome = self.generation.outcome if self.generation else None
        return next(iter(outcome.data.assets), None) if outcome else None


@dataclass(frozen=True, slots=True)
class Round:
    """`drawn`: the calls that were begun or refused, by their number."""

    words: Step
    drawn: dict[int, Step] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Step, ...]:
        return (self.words, *self.drawn.values())

    @property
    def is_over(self) -> bool:
        """Whether all that it calls for is over, and was told."""
        return self.words.is_over and all(
            index in self.drawn and self.drawn[index].is_told for index in range(len(self.words.calls))
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """`id` is that of the generation which answers what the user said."""

    id: UUID
    user_id: UUID
    session_id: str
    canvas_id: str
    state: str
    api_key_id: UUID | None
    is_late: bool
    rounds: tuple[Round, ...]

    @property
    def last(self) -> Round:
        return self.rounds[-1]


def words_id(turn_id: UUID, number: int) -> UUID:
    """The id of a round's words; the first answers the user."""
    return turn_id if number == 0 else uuid5(turn_id, f"round {number}")


def call_id(turn_id: UUID, number: int, call: int) -> UUID:
    return uuid5(turn_id, f"round {number} call {call}")


class Steps:
    """The turns and their steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, connection: Connection, caller: Caller, turn_id: UUID, session_id: str, canvas_id: str
    ) -> None:
        """A turn, with its first words; in the transaction that records these."""
        values = {
            "turn_id": turn_id,
            "user_id": caller.user_id,
            "session_id": session_id,
            "canvas_id": canvas_id,
            "api_key_id": caller.key.id if caller.key else None,
            "look_again_seconds": LOOK_AGAIN_SECONDS,
            "turn_seconds": TURN_SECONDS,
        }
        await connection.execute(_BEGIN, values)
        await self.add(connection, turn_id, words_id(turn_id, 0), 0, None)

    async def add(self, connection: Connection, turn_id: UUID, step_id: UUID, number: int, call: int | None) -> None:
        """A step that is a generation; in the transaction that records it. Raises Refusal where it was refused."""
        values = {"id": step_id, "turn_id": turn_id, "round": number, "call": call, "refusal": None}
        if (await connection.execute(_STEP, values)).first() is None:
            raise AlreadyFinished("This step was refused already.")

    async def refuse(self, turn_id: UUID, step_id: UUID, number: int, call: int | None, refusal: Refusal) -> bool:
        """A step that is none; False where somebody else was first."""
        why = {"code": refusal.code, "message": refusal.message}
        values = {"id": step_id, "turn_id": turn_id, "round": number, "call": call, "refusal": json.dumps(why)}
        async with self._database.statement() as connection:
            return (await connection.execute(_STEP, values)).first() is not None

    async def turn(self, turn_id: UUID) -> Turn | None:
        """As it stands."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_TURN, {"turn_id": turn_id})).one_or_none()
        if row is None:
            return None
        rounds = (await self.rounds([turn_id])).get(turn_id, ())
        return Turn(turn_id, row.user_id, row.session_id, row.canvas_id, row.state, row.api_key_id, row.is_late, rounds)

    async def rounds(self, turn_ids: Sequence[UUID]) -> dict[UUID, tuple[Round, ...]]:
        """Those of turns in which a model could draw; the others have none."""
        async with self._database.statement() as connection:
            rows = (await connection.execute(_STEPS, {"turn_ids": list(turn_ids)})).all()
            if not rows:
                return {}
            found = await connection.execute(_GENERATIONS, {"ids": [row.id for row in rows]})
            generations = {row.id: generation_of(row) for row in found}
        rounds: dict[UUID, list[Round]] = {}
        for row in rows:
            why = json.loads(row.refusal) if row.refusal else None
            step = Step(row.id, row.round, row.call, why, row.is_told, row.is_placed, generations.get(row.id))
            if step.call is None:
                rounds.setdefault(row.turn_id, []).append(Round(step))
            else:
                rounds[row.turn_id][-1].drawn[step.call] = step
        return {turn_id: tuple(each) for turn_id, each in rounds.items()}

    async def turns_of(self, generation_ids: Iterable[UUID]) -> list[UUID]:
        """The turns that these generations were drawn for."""
        async with self._database.statement() as connection:
            return (await connection.execute(_TURNS_OF, {"ids": list(generation_ids)})).scalars()

    async def turn_of(self, generation_id: UUID) -> UUID | None:
        """The turn that a generation is a step of."""
        async with self._database.statement() as connection:
            found: UUID | None = (await connection.execute(_TURN_OF, {"id": generation_id})).scalar_one_or_none()
        return found

    async def tell(self, step_id: UUID, *, is_placed: bool) -> bool:
        """Notes that a step's end was told, and whether the canvas has what was made; False where somebody had."""
        async with self._database.statement() as connection:
            return (await connection.execute(_TOLD, {"id": step_id, "is_placed": is_placed})).first() is not None

    async def end(self, turn_id: UUID) -> bool:
        """Whether it was this that ended the turn."""
        async with self._database.statement() as connection:
            return (await connection.execute(_END, {"turn_id": turn_id})).first() is not None

    async def stop(self, caller: Caller, session_id: str) -> list[UUID]:
        """The turns of a session that begin nothing more; what is at work has to be cancelled."""
        values = {"user_id": caller.user_id, "session_id": session_id}
        async with self._database.statement() as connection:
            return (await connection.execute(_STOP, values)).scalars()

    async def put_off(self, turn_id: UUID, seconds: float) -> None:
        async with self._database.statement() as connection:
            await connection.execute(_PUT_OFF, {"turn_id": turn_id, "seconds": seconds})

    async def due(self) -> list[UUID]:
        """Turns at which nobody has looked for too long."""
        values = {"limit": MAX_DUE, "look_again_seconds": LOOK_AGAIN_SECONDS}
        async with self._database.statement() as connection:
            return (await connection.execute(_DUE, values)).scalars()

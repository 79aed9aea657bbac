"""What an operator sees and does: how the house stands, models on and off, the dead letters.

Figures are asked of whoever owns them. A letter is replayed by driving its generation: `requested` is said again, and
every service says its part again, so that the gateway needs no right to speak for another. An outcome that the log
holds is not said again: it is taken from there.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy import text

from contracts.model import Frozen
from contracts.questions import (
    GENERATOR_FIGURES,
    GENERATOR_MODELS,
    GENERATOR_SWITCH_MODEL,
    LEDGER_FIGURES,
    ListedModel,
    Models,
    Nothing,
    SwitchedModel,
    SwitchModel,
)
from contracts.topology import CONSUMERS, DEAD, generation_of
from contracts.watching import MAX_WATCHED_ROWS, BookFigures, FiguresOf, WorkFigures
from gateway import records
from gateway.commands import Commands
from gateway.lag import consumers
from gateway.recalling import Kept, kept, last_word
from gateway.refusals import AlreadyFinished, NotFinished, NotFound, Unavailable, UnknownModel
from gateway.saying import drive
from runtime.broker import connected
from runtime.database import Database, Row

ANSWER_SECONDS = 3.0
MAX_LETTERS = 50
MAX_REASON_CHARACTERS = 500
MAX_PAYLOAD_CHARACTERS = 4000
_ADVISORY = "$JS.EVENT.ADVISORY."
Answer = TypeVar("Answer", bound=Frozen)

_ACCEPTED = text("""
    SELECT kind, status, count(*) AS number,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
    FROM (
        SELECT kind, status, EXTRACT(EPOCH FROM completed_at - created_at)::float8 AS seconds FROM generations
        WHERE created_at > now() - make_interval(mins => :minutes) LIMIT :most
    ) AS found GROUP BY kind, status ORDER BY kind, status
""")
_BY_MINUTE = text("""
    SELECT (EXTRACT(EPOCH FROM now() - created_at) / 60)::int AS ago, count(*) AS number FROM (
        SELECT created_at FROM generations WHERE created_at > now() - make_interval(mins => :minutes) LIMIT :most
    ) AS found GROUP BY ago ORDER BY ago
""")


@dataclass(frozen=True, slots=True)
class House:
    """`book`, `work`: None where that service does not answer. `lag`: by consumer, None where it is not known."""

    accepted: list[Row]
    by_minute: list[Row]
    book: BookFigures | None
    work: WorkFigures | None
    lag: dict[str, int | None]
    dead: int | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A fact that nobody could handle; `generation_id` is None where it is about none, or cannot be known any more."""

    sequence: int
    at: datetime
    consumer: str
    subject: str | None
    generation_id: UUID | None
    reason: str
    deliveries: int
    payload: str | None


class Operating:
    """Who asks has to be an operator: the routes see to it."""

    def __init__(self, database: Database, broker: NatsBroker, commands: Commands) -> None:
        self._database = database
        self._broker = broker
        self._commands = commands

    async def house(self, minutes: int) -> House:
        """Everything at once, as far as there is an answer."""
        asked = FiguresOf(minutes=minutes)
        book, work, lag, dead, rows = await asyncio.gather(
            self._ask_or_none(LEDGER_FIGURES, asked, BookFigures),
            self._ask_or_none(GENERATOR_FIGURES, asked, WorkFigures),
            self._lag(),
            self._dead(),
            self._rows(minutes),
        )
        return House(*rows, book, work, lag, dead)

    async def models(self) -> list[ListedModel]:
        """All of them, switched off or not. Raises Unavailable."""
        return list((await self._ask(GENERATOR_MODELS, Nothing(), Models)).models)

    async def switch(self, name: str, *, on: bool) -> ListedModel:
        """Raises UnknownModel, Unavailable."""
        switched = await self._ask(GENERATOR_SWITCH_MODEL, SwitchModel(id=name, on=on), SwitchedModel)
        if switched.model is None:
            raise UnknownModel(switched.problem or "There is no such model.")
        return switched.model

    async def letters(self, after: int) -> list[Letter]:
        """The oldest whose number is greater. Raises Unavailable."""
        found = await kept(self._broker, DEAD.name, ">", most=MAX_LETTERS, seq=after + 1)
        return list(await asyncio.gather(*map(self._letter, found)))

    async def replay(self, sequence: int) -> Letter:
        """Drives the letter's generation, or records the outcome that the log holds of it; then forgets the letter.

        Raises:
            NotFound: no such letter, or it is about no generation of ours.
            AlreadyFinished, NotFinished: its generation has ended, or waits for its turn and is driven then.
            Unavailable: the bus does not answer, or holds an outcome that cannot be read; the letter stays.
        """
        letter = await self._find(sequence)
        generation = None
        if letter.generation_id is not None:
            async with self._database.statement() as connection:
                generation = await records.anybodys(connection, letter.generation_id)
        if generation is None:
            raise NotFound("The letter is about no generation that is known here: it can only be dropped.")
        if generation.is_final:
            raise AlreadyFinished(f"Its generation is {generation.status} already: drop the letter.")
        if outcome := await last_word(self._broker, generation.id):
            await self._commands.settle([outcome])
        elif not generation.published:
            raise NotFinished("Its generation waits for its turn, and is driven then.")
        elif not await drive(self._broker, generation):
            raise Unavailable("The bus did not take it. The letter stays.")
        await self._forget(sequence)
        return letter

    async def drop(self, sequence: int) -> None:
        """Raises NotFound, Unavailable."""
        await self._find(sequence)
        await self._forget(sequence)

    async def _find(self, sequence: int) -> Letter:
        found = await kept(self._broker, DEAD.name, ">", most=1, seq=sequence)
        if not found or found[0].sequence != sequence:
            raise NotFound("There is no such letter.")
        return await self._letter(found[0])

    async def _forget(self, sequence: int) -> None:
        await self._request(f"$JS.API.STREAM.MSG.DELETE.{DEAD.name}", json.dumps({"seq": sequence}).encode())

    async def _letter(self, found: Kept) -> Letter:
        """Of a message that may be anything at all."""
        try:
            said = json.loads(found.data)
            if found.subject.startswith(_ADVISORY):
                said = await self._advised(said)
            subject, payload = said.get("subject"), said.get("payload")
            return Letter(
                found.sequence,
                found.at,
                str(said["consumer"]),
                subject,
                _about(subject),
                str(said["reason"])[:MAX_REASON_CHARACTERS],
                int(said["deliveries"]),
                None if payload is None else str(payload)[:MAX_PAYLOAD_CHARACTERS],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            consumer = found.subject.removeprefix("dead.")
            return Letter(found.sequence, found.at, consumer, None, None, "It is no letter.", 0, None)

    async def _advised(self, advisory: dict[str, Any]) -> dict[str, Any]:
        """The broker gave up delivering a message, which may lie in its stream still."""
        original = await kept(self._broker, str(advisory["stream"]), ">", most=1, seq=int(advisory["stream_seq"]))
        there = bool(original) and original[0].sequence == int(advisory["stream_seq"])
        return {
            "consumer": advisory["consumer"],
            "subject": original[0].subject if there else None,
            "reason": "delivered too often, never settled",
            "deliveries": advisory["deliveries"],
            "payload": original[0].data.decode("utf-8", "replace") if there else None,
        }

    async def _rows(self, minutes: int) -> tuple[list[Row], list[Row]]:
        values = {"minutes": minutes, "most": MAX_WATCHED_ROWS}
        async with self._database.statement() as connection:
            accepted = (await connection.execute(_ACCEPTED, values)).all()
            return list(accepted), list((await connection.execute(_BY_MINUTE, values)).all())

    async def _lag(self) -> dict[str, int | None]:
        """Of each consumer, what it has not settled; None where the bus is away, or has no such consumer yet."""
        found = await consumers(self._broker, ANSWER_SECONDS)
        waiting = {name: (info.num_pending or 0) + (info.num_ack_pending or 0) for name, info in found.items()}
        return {consumer.durable: waiting.get(consumer.durable) for consumer in CONSUMERS}

    async def _dead(self) -> int | None:
        try:
            info = await self._broker.connection.jetstream(timeout=ANSWER_SECONDS).stream_info(DEAD.name)
        except Exception:
            return None
        return info.state.messages

    async def _ask_or_none(self, subject: str, question: Frozen, answer: type[Answer]) -> Answer | None:
        try:
            return await self._ask(subject, question, answer)
        except Unavailable:
            return None

    async def _ask(self, subject: str, question: Frozen, answer: type[Answer]) -> Answer:
        reply = await self._request(subject, question.model_dump_json().encode())
        try:
            return answer.model_validate_json(reply)
        except ValidationError as error:
            raise Unavailable("The answer could not be read.") from error

    async def _request(self, subject: str, payload: bytes) -> bytes:
        if connected(self._broker):
            try:
                return bytes((await self._broker.connection.request(subject, payload, timeout=ANSWER_SECONDS)).data)
            except (NatsError, TimeoutError, OSError):
                pass
        raise Unavailable("Whoever knows does not answer right now.")


def _about(subject: Any) -> UUID | None:
    try:
        return generation_of(subject) if isinstance(subject, str) and subject.startswith("generation.") else None
    except ValueError:
        return None

"""One generation's timeline: what the log keeps of it, and what the rows of every service remember.

The log forgets (`GENERATION` after 72 h), the rows do not; whoever does not answer in time is named instead.
"""

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.questions import GENERATOR_COURSE, LEDGER_COURSE, STORAGE_COURSE
from contracts.topology import GENERATION, NOTIFICATIONS, OUTCOMES, notification_subject, outcome_subject
from contracts.watching import Course, CourseOf, Moment
from gateway.identity import Caller
from gateway.queries import Queries
from gateway.recalling import Kept, kept, last
from gateway.records import Generation
from gateway.refusals import Unavailable
from runtime.broker import connected

ANSWER_SECONDS = 2.0
MAX_FACTS = 20
"""Of one generation: each is said again when it is driven."""
_SERVICES = {"ledger": LEDGER_COURSE, "generator": GENERATOR_COURSE, "storage": STORAGE_COURSE}
Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Step:
    """`moment`: what a row remembers beside the time; `sequence`: where the log keeps the fact."""

    name: str
    by: str
    at: datetime
    moment: Moment | None = None
    stream: str | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """In the order of time. `silent`: who was asked and did not answer."""

    generation: Generation
    steps: list[Step]
    silent: list[str]


class Timelines:
    """Asks everybody at once."""

    def __init__(self, broker: NatsBroker, queries: Queries) -> None:
        self._broker = broker
        self._queries = queries

    async def of(self, caller: Caller, generation_id: UUID) -> Timeline:
        """Raises NotFound, for somebody else's, too."""
        generation = await self._queries.generation(caller, generation_id)
        asked: dict[str, Awaitable[list[Step]]] = {
            "log": self._facts(generation),
            **{service: self._course(service, subject, generation_id) for service, subject in _SERVICES.items()},
        }
        told = await asyncio.gather(*map(_or_silence, asked.values()))
        steps = [Step("accepted", "gateway", generation.created_at)]
        if generation.completed_at is not None:
            steps.append(Step("recorded", "gateway", generation.completed_at))
        steps.extend(step for found in told for step in found or ())
        silent = [name for name, found in zip(asked, told, strict=True) if found is None]
        return Timeline(generation, sorted(steps, key=lambda step: step.at), silent)

    async def _facts(self, generation: Generation) -> list[Step]:
        subjects = f"generation.*.{generation.kind}.{generation.lane}.{generation.id}"
        said, ended, told = await asyncio.gather(
            kept(self._broker, GENERATION.name, subjects, most=MAX_FACTS),
            last(self._broker, OUTCOMES.name, outcome_subject(generation.id)),
            self._notified(generation),
        )
        return [
            *(_step(each.subject.split(".")[1], GENERATION.name, each) for each in said),
            *([_step("outcome", OUTCOMES.name, ended)] if ended else []),
            *(_step("notified", NOTIFICATIONS.name, each) for each in told),
        ]

    async def _notified(self, generation: Generation) -> list[Kept]:
        """A notification's subject names the user alone: those from its end on are looked through."""
        if generation.completed_at is None:
            return []
        subject = notification_subject(generation.user_id, generation.status)
        begin = generation.completed_at.isoformat()
        found = await kept(self._broker, NOTIFICATIONS.name, subject, start_time=begin)
        return [each for each in found if _fact(each).get("subject") == str(generation.id)][:1]

    async def _course(self, service: str, subject: str, generation_id: UUID) -> list[Step]:
        if not connected(self._broker):
            raise Unavailable("Nobody can be asked right now.")
        question = CourseOf(generation_id=generation_id).model_dump_json().encode()
        try:
            reply = await self._broker.connection.request(subject, question, timeout=ANSWER_SECONDS)
            moments = Course.model_validate_json(reply.data).moments
        except (NatsError, TimeoutError, OSError, ValidationError) as error:
            raise Unavailable(f"The {service} does not answer right now.") from error
        return [Step(moment.step, service, moment.at, moment) for moment in moments]


async def _or_silence(asked: Awaitable[Told]) -> Told | None:
    try:
        return await asked
    except Unavailable:
        return None


def _step(name: str, stream: str, found: Kept) -> Step:
    return Step(name, str(_fact(found).get("source", "")), found.at, stream=stream, sequence=found.sequence)


def _fact(found: Kept) -> dict[str, object]:
    """The envelope alone; empty for what cannot be read."""
    try:
        fact = json.loads(found.data)
    except ValueError:
        return {}
    return fact if isinstance(fact, dict) else {}

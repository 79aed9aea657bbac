"""What the bus still keeps, read back without a consumer: the facts of one generation, and the dead letters.

One request brings several messages (JetStream's batched direct get), each along the index of subjects.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from faststream.nats import NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.facts import Outcome
from contracts.topology import OUTCOMES, outcome_subject
from gateway.refusals import Unavailable
from runtime.broker import connected

ANSWER_SECONDS = 2.0
MAX_MESSAGES = 50
"""In one answer."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as a stream keeps it."""

    subject: str
    sequence: int
    at: datetime
    data: bytes


async def kept(broker: NatsBroker, stream: str, subjects: str, *, most: int = MAX_MESSAGES, **start: Any) -> list[Kept]:
    """The first messages on these subjects from `seq` or `start_time` on, oldest first.

    Raises:
        Unavailable: the bus does not answer.
    """
    if not connected(broker):
        raise Unavailable("The log cannot be read right now.")
    connection = broker.connection
    inbox = connection.new_inbox()
    question = {"batch": min(most, MAX_MESSAGES), "next_by_subj": subjects, **(start or {"seq": 1})}
    try:
        subscription = await connection.subscribe(inbox)
        try:
            await connection.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(question).encode(), reply=inbox)
            async with asyncio.timeout(ANSWER_SECONDS):
                return [_kept(message) for message in await _answers(subscription)]
        finally:
            await subscription.unsubscribe()
    except (NatsError, TimeoutError, OSError) as error:
        raise Unavailable("The log cannot be read right now.") from error


async def last(broker: NatsBroker, stream: str, subject: str) -> Kept | None:
    """The last message on a subject. Raises Unavailable: the bus does not answer."""
    if not connected(broker):
        raise Unavailable("The log cannot be read right now.")
    try:
        question = f"$JS.API.DIRECT.GET.{stream}.{subject}"
        message = await broker.connection.request(question, b"", timeout=ANSWER_SECONDS)
    except (NatsError, TimeoutError, OSError) as error:
        raise Unavailable("The log cannot be read right now.") from error
    return None if "Status" in (message.headers or {}) else _kept(message)


async def last_word(broker: NatsBroker, generation_id: UUID) -> Outcome | None:
    """The outcome that the log holds of a generation; None where it holds none.

    Raises:
        Unavailable: the bus does not answer, or what it holds cannot be read.
    """
    found = await last(broker, OUTCOMES.name, outcome_subject(generation_id))
    try:
        return None if found is None else Outcome.decode(found.data)
    except ValidationError as error:
        raise Unavailable("The log holds an outcome that cannot be read.") from error


async def _answers(subscription: Any) -> Sequence[Msg]:
    """Until the message that says how it ended: 204 after the last one, 404 where there is none."""
    found: list[Msg] = []
    async for message in subscription.messages:
        status = (message.headers or {}).get("Status")
        if status in {"204", "404"}:
            break
        if status is not None:
            raise NatsError(f"the stream answered {status}")
        found.append(message)
    return found


def _kept(message: Msg) -> Kept:
    headers = message.headers or {}
    return Kept(
        headers["Nats-Subject"],
        int(headers["Nats-Sequence"]),
        datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        message.data,
    )

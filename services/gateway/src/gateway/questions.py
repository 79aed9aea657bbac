"""Asking another service what only it can answer, while a client waits."""

from typing import TypeVar

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.model import Frozen
from gateway.refusals import Unavailable
from runtime.broker import connected

Answer = TypeVar("Answer", bound=Frozen)


async def ask(
    broker: NatsBroker, subject: str, question: Frozen, answer: type[Answer], seconds: float, silence: str
) -> Answer:
    """Raises Unavailable, with `silence` as its words, where nothing readable comes back in so many seconds."""
    if not connected(broker):
        raise Unavailable(silence)
    try:
        reply = await broker.connection.request(subject, question.model_dump_json().encode(), timeout=seconds)
        return answer.model_validate_json(reply.data)
    except (NatsError, OSError, ValidationError) as error:
        raise Unavailable(silence) from error


async def ask_ledger(
    broker: NatsBroker, subject: str, question: Frozen, answer: type[Answer], seconds: float
) -> Answer:
    """Raises Unavailable while the ledger does not answer."""
    return await ask(broker, subject, question, answer, seconds, "The ledger does not answer right now.")

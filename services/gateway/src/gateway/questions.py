"""Asking the ledger what only it can answer, while a client waits."""

from typing import TypeVar

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.model import Frozen
from gateway.refusals import Unavailable
from runtime.broker import connected

Answer = TypeVar("Answer", bound=Frozen)


async def ask_ledger(
    broker: NatsBroker,
    subject: str,
    question: Frozen,
    answer: type[Answer],
    timeout_seconds: float,
) -> Answer:
    """Raises Unavailable while the ledger does not answer."""
    if connected(broker):
        payload = question.model_dump_json().encode()
        try:
            reply = await broker.connection.request(subject, payload, timeout=timeout_seconds)
            return answer.model_validate_json(reply.data)
        except (NatsError, TimeoutError, OSError, ValidationError):
            pass
    raise Unavailable("The ledger does not answer right now.")

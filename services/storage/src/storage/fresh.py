"""Asking the generator where a result is by now: a provider that was paid gives a new address for what it still has."""

from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.questions import GENERATOR_FRESH_ADDRESS
from contracts.tasks import FreshAddress, FreshAddressOf

TIMEOUT_SECONDS = 15.0
"""The generator asks the provider in turn."""

log = structlog.get_logger()


async def fresh_address(broker: NatsBroker, generation_id: UUID, index: int) -> str | None:
    """The new address of an output; None where there is none, or nobody who could say."""
    question = FreshAddressOf(generation_id=generation_id, index=index).model_dump_json().encode()
    try:
        answer = await broker.connection.request(GENERATOR_FRESH_ADDRESS, question, timeout=TIMEOUT_SECONDS)
        return FreshAddress.model_validate_json(answer.data).url
    except (NatsError, OSError, ValidationError) as error:
        log.warning("fresh_address.not_answered", error=type(error).__name__)
        return None

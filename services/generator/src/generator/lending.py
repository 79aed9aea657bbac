"""What a generation starts from and storage keeps: its bytes are asked for when they are about to be used.

A claim lives for a day and a generation may be driven again for longer, so the fact names the asset and never a claim.
"""

from uuid import UUID

from faststream.nats import NatsBroker
from pydantic import ValidationError

from contracts.facts import Input
from contracts.keeping import Lend, Lent
from contracts.questions import STORAGE_LEND
from generator.providers.interface import Invalid, Unreadable

LEND_SECONDS = 30.0
"""Storage reads its store and writes to the bus, and may have to make a variant first."""


class InputNotFound(Invalid):
    """It was there when the generation was accepted, and is not there now."""

    code = "input_not_found"
    words = "What this starts from is not there any more."


async def borrow(broker: NatsBroker, user_id: UUID, given: Input, max_bytes: int) -> Input:
    """The same input with a claim of its bytes.

    Raises:
        InputNotFound, Invalid: it is gone, or too large.
        Unreadable: storage does not speak our language.
        OSError, nats.errors.Error, TimeoutError: storage, or what it needs, is away; ask again.
    """
    assert given.asset_id is not None  # noqa: S101
    question = Lend(user_id=user_id, asset_id=given.asset_id, variant=given.variant, max_bytes=max_bytes)
    answer = await broker.connection.request(STORAGE_LEND, question.model_dump_json().encode(), timeout=LEND_SECONDS)
    try:
        lent = Lent.model_validate_json(answer.data)
    except ValidationError as error:
        raise Unreadable from error
    if lent.claim is not None:
        return Input(role=given.role, claim=lent.claim, mime_type=lent.mime_type)
    failure = lent.failure
    if failure is None or failure.code == "unavailable":
        raise ConnectionError("storage cannot lend at the moment")
    raise InputNotFound if failure.code == InputNotFound.code else Invalid(failure.message)

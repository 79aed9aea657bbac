"""What Stripe's events mean: strict about what is used, silent about the rest."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from stripe import SignatureVerificationError, WebhookSignature

from ledger.domain.payments import REFUNDS, Claim, Report, Standing, State

TOLERANCE_SECONDS = 300
"""How old, and how far ahead of us, a signature may be."""
MAX_ID_CHARACTERS = 255
MAX_AMOUNT = 10**15
"""More than Stripe takes in any currency. An account may sell other things than ours, for more."""


class UnbelievableError(Exception):
    """A webhook that Stripe did not write, or not now."""


class UnreadableError(Exception):
    """Stripe says something that we should know, in a shape that we do not."""


@dataclass(frozen=True, slots=True)
class Event:
    """`report` is None where the event is about nothing of ours."""

    id: str
    type: str
    created: int
    """Unix seconds."""
    livemode: bool
    report: Report | None


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Intent(_Part):
    id: str = Field(max_length=MAX_ID_CHARACTERS)
    status: str
    amount_received: int = Field(ge=0, le=MAX_AMOUNT)
    currency: str
    metadata: dict[str, str] = {}


class _Charge(_Part):
    payment_intent: str | None = Field(max_length=MAX_ID_CHARACTERS)
    paid: bool
    amount_captured: int = Field(ge=0, le=MAX_AMOUNT)
    amount_refunded: int = Field(ge=0, le=MAX_AMOUNT)
    currency: str
    metadata: dict[str, str] = {}


class _Dispute(_Part):
    id: str = Field(max_length=MAX_ID_CHARACTERS)
    payment_intent: str | None = Field(max_length=MAX_ID_CHARACTERS)
    amount: int = Field(ge=0, le=MAX_AMOUNT)
    currency: str
    status: str


class _Data(_Part):
    object: dict[str, Any]


class _Envelope(_Part):
    id: str = Field(max_length=MAX_ID_CHARACTERS)
    type: str
    created: int
    livemode: bool
    data: _Data


P = TypeVar("P", bound=_Part)


def verify(body: bytes, signature: str, secret: str) -> None:
    """Stripe's signature over exactly these bytes, made now: the SDK looks at the past alone.

    Raises:
        UnbelievableError: without a word of what was signed.
    """
    try:
        WebhookSignature.verify_header(body, signature, secret, TOLERANCE_SECONDS)
        signed_at = next(int(part[2:]) for part in signature.split(",") if part.startswith("t="))
    except (SignatureVerificationError, ValueError, TypeError) as error:
        # The last two: bytes and signatures that are no text.
        raise UnbelievableError("the signature is not one of Stripe's for this body, or too old") from error
    if signed_at > time.time() + TOLERANCE_SECONDS:
        raise UnbelievableError("the signature is from the future")


def read_event(document: object) -> Event:
    """An event as Stripe's API or a webhook gives it.

    Raises:
        UnreadableError: it is none, or one of those that we know and in another shape.
    """
    envelope = _read(_Envelope, document)
    read = _REPORTS.get(envelope.type)
    report = read(envelope.data.object) if read else None
    return Event(envelope.id, envelope.type, envelope.created, envelope.livemode, report)


def report_of_intent(document: object) -> Report | None:
    """What a payment intent says of itself; None while nothing has come of it."""
    intent = _read(_Intent, document)
    state = {"succeeded": State.PAID, "canceled": State.CANCELED}.get(intent.status)
    if state is None:
        return None
    return Report(
        intent.id, *_ours(intent.metadata), state=state, amount=intent.amount_received, currency=intent.currency
    )


def _of_charge(document: object) -> Report | None:
    charge = _read(_Charge, document)
    if charge.payment_intent is None or not charge.paid:
        return None
    return Report(
        charge.payment_intent,
        *_ours(charge.metadata),
        state=State.PAID,
        amount=charge.amount_captured,
        currency=charge.currency,
    )


def _of_refunds(document: object) -> Report | None:
    charge = _read(_Charge, document)
    if charge.payment_intent is None:
        return None
    claim = Claim(REFUNDS, charge.amount_refunded, charge.currency, Standing.LOST)
    return Report(charge.payment_intent, *_ours(charge.metadata), claim=claim)


def _of_dispute(document: object) -> Report | None:
    dispute = _read(_Dispute, document)
    # An inquiry takes no money, and becomes a dispute by another event where it goes on.
    if dispute.payment_intent is None or dispute.status.startswith("warning_"):
        return None
    standing = {"won": Standing.WON, "prevented": Standing.WON, "lost": Standing.LOST}.get(
        dispute.status, Standing.OPEN
    )
    return Report(dispute.payment_intent, claim=Claim(dispute.id, dispute.amount, dispute.currency, standing))


def _of_reinstated(document: object) -> Report | None:
    """The money is back, whatever the dispute's status says."""
    dispute = _read(_Dispute, document)
    if dispute.payment_intent is None:
        return None
    return Report(dispute.payment_intent, claim=Claim(dispute.id, dispute.amount, dispute.currency, Standing.WON))


_REPORTS: Mapping[str, Callable[[object], Report | None]] = {
    "payment_intent.succeeded": report_of_intent,
    "payment_intent.canceled": report_of_intent,
    "charge.succeeded": _of_charge,
    "charge.captured": _of_charge,
    "charge.refunded": _of_refunds,
    "charge.dispute.created": _of_dispute,
    "charge.dispute.updated": _of_dispute,
    "charge.dispute.closed": _of_dispute,
    "charge.dispute.funds_withdrawn": _of_dispute,
    "charge.dispute.funds_reinstated": _of_reinstated,
}
EVENT_TYPES = tuple(_REPORTS)
"""What a webhook endpoint has to be sent, and what is asked for."""


def _read(part: type[P], document: object) -> P:
    try:
        return part.model_validate(document)
    except ValidationError as error:
        places = sorted({".".join(map(str, found["loc"])) for found in error.errors()})
        raise UnreadableError(f"{part.__name__.strip('_').lower()}: {', '.join(places)}"[:300]) from error


def _ours(metadata: Mapping[str, str]) -> tuple[UUID | None, UUID | None]:
    """The payment and the user that we wrote down when we began."""
    try:
        return UUID(metadata["payment_id"]), UUID(metadata["user_id"])
    except (KeyError, ValueError):
        return None, None

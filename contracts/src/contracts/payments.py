"""Paying for credits: what is asked of the ledger, and what it answers."""

from typing import Literal
from uuid import UUID

from pydantic import Base64Bytes, Field

from contracts.model import Frozen
from contracts.money import Balance, Units

MAX_PRICE = 99_999_999
"""What Stripe takes at most, in minor units."""
_WITHOUT_CENTS = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"]
)
"""Of https://docs.stripe.com/currencies#zero-decimal."""
MAX_PAYMENT_EVENT_BYTES = 1 << 18
MAX_REFERENCE_CHARACTERS = 255


def minor_units(currency: str | None) -> int:
    """How many make a whole one, as Stripe counts; of cents where none is named. In lower case, as everywhere."""
    return 1 if currency in _WITHOUT_CENTS else 100


class CreditPack(Frozen):
    """Credits that can be bought together."""

    id: str
    credits: Units
    price: int
    """In minor units of the currency: cents."""
    currency: str
    """ISO 4217, in lower case."""


class CreditPacks(Frozen):
    """What can be bought. Without payments there is no key, and nothing to buy."""

    packs: tuple[CreditPack, ...]
    publishable_key: str | None = None
    """Stripe's key for browsers."""


class CreatePayment(Frozen):
    """Begin to pay for a credit pack, named by its id or by its exact price. The same `payment_id` is begun once.

    Where several are given they must agree. Neither credits nor a price are ever taken from here.
    """

    payment_id: UUID
    user_id: UUID
    pack: str | None = Field(default=None, max_length=MAX_REFERENCE_CHARACTERS)
    price: Units | None = Field(default=None, ge=1, le=MAX_PRICE)
    """In minor units of the currency."""
    currency: str | None = Field(default=None, max_length=MAX_REFERENCE_CHARACTERS)


class BegunPayment(Frozen):
    """What a browser needs to pay."""

    payment_id: UUID
    payment_intent: str
    """Stripe's id."""
    client_secret: str
    publishable_key: str | None
    pack: str
    credits: Units
    price: int
    currency: str
    status: str
    """Stripe's own word."""


class PaymentRefusal(Frozen):
    """Why a payment was not begun. `unavailable`: Stripe does not answer, and the same may be asked again."""

    code: Literal[
        "not_offered", "no_such_pack", "price_mismatch", "currency_mismatch", "id_used", "expired", "unavailable"
    ]
    message: str


class CreatedPayment(Frozen):
    """Exactly one of them is set."""

    payment: BegunPayment | None = None
    refusal: PaymentRefusal | None = None


class ConfirmPayment(Frozen):
    """Has this payment of this user been made? `reference` is its id, or Stripe's."""

    user_id: UUID
    reference: str = Field(max_length=MAX_REFERENCE_CHARACTERS)
    with_test_card: bool = False
    """Pay it with Stripe's own test card first. Without effect where money is real."""


class ConfirmedPayment(Frozen):
    """`credited`: its credits are the user's, or some of them. `unpaid`, `canceled`: as Stripe says; also `canceled`
    where refunds or a dispute took all of it back. `unavailable`: Stripe is silent."""

    state: Literal["credited", "unpaid", "canceled", "unknown", "unavailable"]
    credits: Units = 0
    """What the payment brought and was not taken back, if it is credited."""
    balance: Balance | None = None
    """After that."""


class PaymentEvent(Frozen):
    """A webhook of Stripe exactly as it came: who wrote it is not known yet."""

    body: Base64Bytes = Field(max_length=MAX_PAYMENT_EVENT_BYTES * 4 // 3 + 4)
    """Base64 in JSON, which is what the bound is of."""
    signature: str = Field(max_length=4096)


class PaymentEventVerdict(Frozen):
    """`accepted`: it is in the books. `ignored`: genuine, and nothing to do. `refused`: not to be believed."""

    verdict: Literal["accepted", "ignored", "refused"]
    reason: str = ""
    """For people."""

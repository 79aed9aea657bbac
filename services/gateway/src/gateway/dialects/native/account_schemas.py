"""The bodies of /v1 about a user's credits: amounts are credits, prices minor units of a currency."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, field_validator

from contracts.facts import Kind
from contracts.money import to_units
from contracts.payments import (
    MAX_PRICE,
    MAX_REFERENCE_CHARACTERS,
)


class Consume(BaseModel):
    """Credits to take without a generation, exactly or not at all."""

    model_config = ConfigDict(extra="forbid")

    amount: StrictInt | StrictFloat = Field(description="Credits, more than nothing, to four decimals.")
    reason: str = Field(default="consumed", max_length=500)

    @field_validator("amount")
    @classmethod
    def _countable(cls, amount: int | float) -> int | float:
        if to_units(str(amount)) <= 0:
            raise ValueError("more than nothing")
        return amount

    @field_validator("reason")
    @classmethod
    def _printable(cls, reason: str) -> str:
        if not reason.isprintable():
            raise ValueError("no control characters")
        return reason


class Consumed(BaseModel):
    """What was taken and what is left."""

    consumed: int | float
    available: int | float


class Credits(BaseModel):
    """A user's credits."""

    available: int | float
    held: int | float = Field(description="Set aside for generations that are not finished.")
    used: int | float = Field(description="Paid so far.")
    owed: int | float = Field(
        description="What refunds and disputes took back beyond what was there; what comes in pays it first."
    )
    balance: float = Field(description="What the available ones are worth, in `currency`.")
    currency: Literal["USD"] = "USD"
    last_updated: datetime | None = Field(description="When they changed; null until they did.")


class CreditPackView(BaseModel):
    """Credits that are sold together."""

    id: str
    credits: int | float
    amount: int = Field(description="The price in minor units of the currency: cents.")
    currency: str


class CreditPacksView(BaseModel):
    """What can be bought; empty where payments are not offered."""

    items: list[CreditPackView]
    publishable_key: str | None = Field(description="What Stripe.js is started with.")


class NewPayment(BaseModel):
    """What to buy: a pack by its id, or by its exact price. What is given has to agree with our own list."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"pack": "small"}, {"amount": 1000, "currency": "usd"}]},
    )

    pack: str | None = Field(default=None, strict=True, max_length=MAX_REFERENCE_CHARACTERS)
    amount: int | None = Field(
        default=None, strict=True, ge=1, le=MAX_PRICE, description="In minor units of the currency: cents."
    )
    currency: str | None = Field(default=None, strict=True, max_length=MAX_REFERENCE_CHARACTERS)


class PaymentView(BaseModel):
    """What a browser needs to pay with Stripe.js."""

    id: UUID
    payment_intent: str
    client_secret: str
    publishable_key: str | None
    pack: str
    credits: int | float = Field(description="What it brings once it is paid.")
    amount: int = Field(description="In minor units of the currency: cents.")
    currency: str
    status: str = Field(description="Stripe's own word.")


class ConfirmedPaymentView(BaseModel):
    """Whether a payment was made, as Stripe itself says. One that was taken back as a whole is `canceled`."""

    state: Literal["credited", "unpaid", "canceled"]
    credits: int | float = Field(
        description="What the payment brought and was not taken back; 0 unless it is credited."
    )
    available: int | float | None = Field(description="What there is after that.")


class StatementEntryView(BaseModel):
    """What a generation, a gift or a payment did to the credits. `granted - captured + refunded` is the change."""

    at: datetime
    entry: Literal[
        "generation",
        "grant",
        "starting_grant",
        "monthly_grant",
        "consumed",
        "payment",
        "payment_reversal",
        "payment_restored",
    ]
    generation_id: UUID | None
    state: Literal["open", "captured", "released", "declined", "expired"] | None = Field(
        description="Of the hold: `open` until the generation ends."
    )
    quote: int | float = Field(description="What was set aside at most.")
    captured: int | float = Field(description="What was paid, for what was delivered.")
    released: int | float = Field(description="What was set aside and given back.")
    refunded: int | float = Field(description="What was paid and given back.")
    granted: int | float = Field(description="What was given or paid for; below zero where a payment was taken back.")
    why: str


class StatementPage(BaseModel):
    """Newest first. All entries together add up to what is available or held, less what is owed."""

    items: list[StatementEntryView]
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; null at the end.")


class UsageView(BaseModel):
    """What one generation took, or what was consumed without one; then there is neither kind nor model."""

    at: datetime
    generation_id: UUID | None
    kind: Kind | None
    model: str | None
    state: Literal["open", "captured", "released", "declined", "expired", "consumed"]
    delivered: int = Field(description="Outputs that were paid for.")
    used: int | float = Field(description="Credits that were paid.")
    reason: str | None


class UsageTotalView(BaseModel):
    """A day's use (UTC) of one model."""

    day: date
    kind: Kind | None
    model: str | None
    number: int
    used: int | float


class UsagePage(BaseModel):
    """Newest first; `total` entries and `totals` are those of all the days."""

    items: list[UsageView]
    totals: list[UsageTotalView]
    total: int

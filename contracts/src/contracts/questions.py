"""Questions with an immediate answer: NATS request/reply to the service that owns it."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Base64Bytes, Field

from contracts.facts import Kind, Outcome
from contracts.model import Frozen
from contracts.money import Price, PriceList, Units
from contracts.usage import UsageOf, UsageReport

LEDGER_AFFORDABLE = "ledger.affordable"
LEDGER_BALANCE = "ledger.balance"
LEDGER_PRICES = "ledger.prices"
LEDGER_GRANT = "ledger.grant"
LEDGER_STATEMENT = "ledger.statement"
LEDGER_CREDIT_PACKS = "ledger.credit_packs"
LEDGER_CREATE_PAYMENT = "ledger.create_payment"
LEDGER_CONFIRM_PAYMENT = "ledger.confirm_payment"
LEDGER_PAYMENT_EVENT = "ledger.payment_event"
LEDGER_CONSUME = "ledger.consume"
LEDGER_USAGE = "ledger.usage"
LEDGER_SET_PLAN = "ledger.set_plan"
LEDGER_SET_PRICES = "ledger.set_prices"
GENERATOR_CATALOG = "generator.catalog"
GATEWAY_OUTCOMES = "gateway.outcomes"

MAX_IDS_PER_QUESTION = 500
MAX_STATEMENT_ENTRIES = 500
"""On one page."""
MAX_PRICE = 99_999_999
"""What Stripe takes at most, in minor units."""
MAX_PAYMENT_EVENT_BYTES = 1 << 18
MAX_REFERENCE_CHARACTERS = 255
MAX_PRICES_PER_QUESTION = 5000
MAX_PRICE_UNITS = 10**12
"""A hundred million credits for one output."""


class Plan(Frozen):
    """What a user's plan gives and bounds. None is no bound of the plan's own."""

    name: str = "free"
    monthly_grant: Units = 0
    """Units, once in each month (UTC) in which they are used."""
    daily_spend_cap: Units | None = None
    """Units that generations may take on one day (UTC)."""
    max_count: int | None = None
    """Outputs of one request."""
    concurrent: int | None = None
    """Unfinished generations at work, in each lane."""
    cooldown_seconds: int | None = None
    """Between two accepted requests."""


class Affordable(Frozen):
    """Has this user `amount` units to spend?"""

    user_id: UUID
    amount: Units = Field(ge=0)
    prepaid: bool = False
    """Whether what was consumed a moment ago pays first."""


class Affordability(Frozen):
    affordable: bool
    available: Units
    """Including what was consumed, where that pays."""
    left_today: Units | None = None
    """What the plan's daily cap leaves; None without a cap."""
    plan: Plan = Plan()


class BalanceOf(Frozen):
    user_id: UUID


class Balance(Frozen):
    """A user's money in units: `used` is what was captured or consumed so far.

    `debt` is what refunds and disputes of payments took back beyond what was there; what comes in pays it first.
    """

    available: Units
    held: Units
    used: Units
    debt: Units = 0
    last_updated: AwareDatetime | None = None
    """When it changed; None for a user who has no account yet."""


class GrantCredits(Frozen):
    """Give a user `amount` units; the same `grant_id` is given once."""

    grant_id: UUID
    user_id: UUID
    amount: Units = Field(gt=0)
    reason: str = "granted"


class ConsumeCredits(Frozen):
    """Take `amount` units from a user, exactly or not at all; the same `consumption_id` is taken once."""

    consumption_id: UUID
    user_id: UUID
    amount: Units = Field(gt=0)
    reason: str = Field(default="consumed", max_length=500)


class Consumption(Frozen):
    """`mismatch`: the id was used for another amount or user. Nothing is taken unless it is `consumed`."""

    state: Literal["consumed", "insufficient_credits", "mismatch"]
    required: Units
    available: Units
    """Now, after it."""


class SetPlan(Frozen):
    """From now on a user has this plan."""

    user_id: UUID
    plan: str


class PlanSet(Frozen):
    """The user's plan as it is now. `problem`: why it was not changed."""

    plan: Plan
    problem: str | None = None


class SetPrices(Frozen):
    """A new price list: the newest, with these prices in it and without the models of `remove`.

    A list that would say the same as the newest is not written, so that asking again is harmless.
    """

    prices: tuple[Price, ...] = Field(default=(), max_length=MAX_PRICES_PER_QUESTION)
    remove: tuple[str, ...] = ()
    free: bool = False
    """Whether a price of 0 is meant."""


class PricesSet(Frozen):
    """The newest version. `problem`: why there is no new one."""

    version: int
    problem: str | None = None


class StatementOf(Frozen):
    """A page of a user's statement: at most `limit` entries that come after `cursor`."""

    user_id: UUID
    limit: int = Field(ge=1, le=MAX_STATEMENT_ENTRIES)
    cursor: str | None = None
    """As the page before gave it; None for the newest entries."""


class StatementEntry(Frozen):
    """What one generation, gift or payment did to a user's credits, in units.

    What a user has, held included and less what is owed, is all that was granted, less what was captured, plus what
    was refunded. What a payment brought, or took back, stands in `granted`.
    """

    at: AwareDatetime
    """When it was held, given, paid or consumed."""
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
    generation_id: UUID | None = None
    state: Literal["open", "captured", "released", "declined", "expired"] | None = None
    """Of the hold."""
    quote: Units = 0
    captured: Units = 0
    released: Units = 0
    refunded: Units = 0
    granted: Units = 0
    why: str = ""
    """For people."""


class Statement(Frozen):
    """Newest first. `cursor` leads to the next page; None at the end."""

    entries: tuple[StatementEntry, ...]
    cursor: str | None
    is_cursor_known: bool = True
    """Whether the cursor that was asked with is one that was handed out; there are no entries otherwise."""


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


class PaymentRefusal(Frozen):
    """Why a payment was not begun. `unavailable`: Stripe does not answer, and the same may be asked again."""

    code: Literal[
        "not_offered", "no_such_pack", "price_mismatch", "currency_mismatch", "id_used", "expired", "unavailable"
    ]
    message: str


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


class CreatedPayment(Frozen):
    """Exactly one of them is set."""

    payment: BegunPayment | None = None
    refusal: PaymentRefusal | None = None


class ConfirmPayment(Frozen):
    """Has this payment of this user been made? `reference` is its id, or Stripe's."""

    user_id: UUID
    reference: str = Field(max_length=MAX_REFERENCE_CHARACTERS)


class ConfirmedPayment(Frozen):
    """`credited`: its credits are the user's. `unpaid`, `canceled`: as Stripe says. `unavailable`: it is silent."""

    state: Literal["credited", "unpaid", "canceled", "unknown", "unavailable"]
    credits: Units = 0
    """What the payment brought, if it is credited."""
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


class Nothing(Frozen):
    """A question that needs no words."""


class CatalogModel(Frozen):
    """What can be asked of one model."""

    id: str
    kind: Kind
    provider: str
    state: Literal["active", "legacy", "off"] = "active"
    """`legacy`: its provider retired it; where there is a `successor`, that one does its work."""
    successor: str | None = None
    sizes: tuple[str, ...] = ()
    default_size: str | None = None
    seconds: tuple[int, ...] = ()
    """How long its videos can be."""
    default_seconds: int | None = None
    ratios: tuple[str, ...] = ()
    """As in `16:9`, where it takes one instead of a size."""
    inputs: tuple[str, ...] = ()
    """The roles of what it can start from."""
    voices: tuple[str, ...] = ()
    max_tokens: int | None = None
    """The longest text that it writes."""
    max_count: int = 1
    max_prompt_characters: int = 4000
    deadline_seconds: int = 300
    p99_seconds: int = 60


class Catalog(Frozen):
    version: int
    models: tuple[CatalogModel, ...]


class RecordedOutcomes(Frozen):
    """What did the clients of these generations hear?"""

    generation_ids: tuple[UUID, ...] = Field(max_length=MAX_IDS_PER_QUESTION)


class RecordedOutcome(Frozen):
    """`unknown`: no such generation; `unfinished`: no outcome yet; `recorded`: what was applied, verbatim."""

    generation_id: UUID
    state: Literal["unknown", "unfinished", "recorded"]
    outcome: Outcome | None = None


class Recorded(Frozen):
    outcomes: tuple[RecordedOutcome, ...]


QUESTIONS: dict[str, tuple[type[Frozen], type[Frozen]]] = {
    LEDGER_AFFORDABLE: (Affordable, Affordability),
    LEDGER_BALANCE: (BalanceOf, Balance),
    LEDGER_PRICES: (Nothing, PriceList),
    LEDGER_GRANT: (GrantCredits, Balance),
    LEDGER_STATEMENT: (StatementOf, Statement),
    LEDGER_CREDIT_PACKS: (Nothing, CreditPacks),
    LEDGER_CREATE_PAYMENT: (CreatePayment, CreatedPayment),
    LEDGER_CONFIRM_PAYMENT: (ConfirmPayment, ConfirmedPayment),
    LEDGER_PAYMENT_EVENT: (PaymentEvent, PaymentEventVerdict),
    LEDGER_CONSUME: (ConsumeCredits, Consumption),
    LEDGER_USAGE: (UsageOf, UsageReport),
    LEDGER_SET_PLAN: (SetPlan, PlanSet),
    LEDGER_SET_PRICES: (SetPrices, PricesSet),
    GENERATOR_CATALOG: (Nothing, Catalog),
    GATEWAY_OUTCOMES: (RecordedOutcomes, Recorded),
}

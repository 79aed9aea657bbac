"""Questions with an immediate answer: NATS request/reply to the service that owns it."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Base64Bytes, Field

from contracts.facts import Asset, Failure, Kind, Outcome
from contracts.model import Frozen
from contracts.money import PriceList, Units

LEDGER_AFFORDABLE = "ledger.affordable"
LEDGER_BALANCE = "ledger.balance"
LEDGER_PRICES = "ledger.prices"
LEDGER_GRANT = "ledger.grant"
LEDGER_STATEMENT = "ledger.statement"
LEDGER_CREDIT_PACKS = "ledger.credit_packs"
LEDGER_CREATE_PAYMENT = "ledger.create_payment"
LEDGER_CONFIRM_PAYMENT = "ledger.confirm_payment"
LEDGER_PAYMENT_EVENT = "ledger.payment_event"
GENERATOR_CATALOG = "generator.catalog"
GENERATOR_FRESH_ADDRESS = "generator.fresh_address"
GENERATOR_KEYS = "generator.keys"
GENERATOR_SET_KEY = "generator.set_key"
GATEWAY_OUTCOMES = "gateway.outcomes"
STORAGE_TAKE_UPLOAD = "storage.take_upload"
STORAGE_OFFER_UPLOAD = "storage.offer_upload"
STORAGE_USAGE = "storage.usage"
STORAGE_KEEP = "storage.keep"
STORAGE_DELETE = "storage.delete"
STORAGE_FORGET = "storage.forget"

MAX_IDS_PER_QUESTION = 500
MAX_STATEMENT_ENTRIES = 500
"""On one page."""
MAX_PRICE = 99_999_999
"""What Stripe takes at most, in minor units."""
MAX_PAYMENT_EVENT_BYTES = 1 << 18
MAX_REFERENCE_CHARACTERS = 255


class Affordable(Frozen):
    """Has this user `amount` units to spend?"""

    user_id: UUID
    amount: Units = Field(ge=0)


class Affordability(Frozen):
    affordable: bool
    available: Units


class BalanceOf(Frozen):
    user_id: UUID


class Balance(Frozen):
    """A user's money in units: `used` is what was captured so far.

    `debt` is what refunds and disputes of payments took back beyond what was there; what comes in pays it first.
    """

    available: Units
    held: Units
    used: Units
    debt: Units = 0


class GrantCredits(Frozen):
    """Give a user `amount` units; the same `grant_id` is given once."""

    grant_id: UUID
    user_id: UUID
    amount: Units = Field(gt=0)
    reason: str = "granted"


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
    """When it was held, given or paid."""
    entry: Literal["generation", "grant", "starting_grant", "payment", "payment_reversal", "payment_restored"]
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


class FreshAddressOf(Frozen):
    """Output `index` of a generation cannot be fetched any more: where is it now?"""

    generation_id: UUID
    index: int = Field(ge=0)


class FreshAddress(Frozen):
    """Where the provider keeps it today; None where it keeps it no more, or gives no address twice."""

    url: str | None = None


class KeysOf(Frozen):
    user_id: UUID


class SetKey(Frozen):
    """A user's own key at a provider, which is never said again; none given forgets it."""

    user_id: UUID
    provider: str = Field(min_length=1, max_length=50)
    key: str | None = Field(default=None, min_length=8, max_length=500, repr=False)


class KeySet(Frozen):
    """A key that is set: all that is ever said of it."""

    provider: str
    last4: str
    set_at: AwareDatetime


class Keys(Frozen):
    keys: tuple[KeySet, ...]
    is_offered: bool = True
    """Whether users may set any here."""


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


class TakeUpload(Frozen):
    """Make an asset of what a user uploaded. Asked again, the same upload is the same asset."""

    upload_id: UUID
    user_id: UUID
    claim: str | None = None
    """The name of an object in the claims bucket; None where it went into the bucket that was offered."""


class TakenUpload(Frozen):
    """Exactly one is set. A failure's code is `unsupported_media`, `unusable_media`, `too_large`, `not_clean`,
    `quota_exceeded`, `not_found` or `unavailable`; only after the last is it of use to ask again."""

    asset: Asset | None = None
    failure: Failure | None = None


class OfferUpload(Frozen):
    """Where may this user's browser put a file of this type, at most so long, by itself?"""

    upload_id: UUID
    user_id: UUID
    mime_type: str
    size_bytes: int = Field(ge=1)


class OfferedUpload(Frozen):
    """A form to be posted, its fields first and the file as `file`; `failure` where there is no such place."""

    url: str | None = None
    fields: dict[str, str] = {}
    expires_at: AwareDatetime | None = None
    failure: Failure | None = None


class UsageOf(Frozen):
    user_id: UUID


class Usage(Frozen):
    """What a user has stored. None is no limit."""

    assets: int
    used_bytes: int
    quota_bytes: int | None = None
    retention_days: int | None = None


class Keep(Frozen):
    """A user's plan, as storage needs to know it; None stands for what holds for everybody."""

    user_id: UUID
    quota_bytes: int | None = Field(default=None, ge=0)
    retention_days: int | None = Field(default=None, ge=1)


class Delete(Frozen):
    """A user deletes the assets of a generation, or takes that back while they are still there.

    Deleted assets are not served from now on; some days later their bytes go.
    """

    user_id: UUID
    generation_id: UUID
    undo: bool = False


class Forget(Frozen):
    """A user's assets go for good, now."""

    user_id: UUID


class Changed(Frozen):
    """How many assets it was about."""

    assets: int


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
    GENERATOR_CATALOG: (Nothing, Catalog),
    GENERATOR_FRESH_ADDRESS: (FreshAddressOf, FreshAddress),
    GENERATOR_KEYS: (KeysOf, Keys),
    GENERATOR_SET_KEY: (SetKey, Keys),
    GATEWAY_OUTCOMES: (RecordedOutcomes, Recorded),
    STORAGE_TAKE_UPLOAD: (TakeUpload, TakenUpload),
    STORAGE_OFFER_UPLOAD: (OfferUpload, OfferedUpload),
    STORAGE_USAGE: (UsageOf, Usage),
    STORAGE_KEEP: (Keep, Usage),
    STORAGE_DELETE: (Delete, Changed),
    STORAGE_FORGET: (Forget, Changed),
}

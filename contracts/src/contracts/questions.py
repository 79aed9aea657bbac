"""Questions with an immediate answer: NATS request/reply to the service that owns it."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.facts import Kind, Outcome
from contracts.judging import JudgedFrames, JudgeFrames, Moderate, Moderated
from contracts.keeping import (
    ChangedAssets,
    Delete,
    FindMedia,
    Forget,
    FoundMedia,
    Keep,
    Lend,
    Lent,
    OfferedUpload,
    OfferUpload,
    ReuseAssets,
    Show,
    Stored,
    StoredBy,
    TakenUpload,
    TakeUpload,
)
from contracts.model import Frozen
from contracts.money import Balance, Price, PriceList, Units
from contracts.payments import (
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPacks,
    PaymentEvent,
    PaymentEventVerdict,
)
from contracts.statement import Statement, StatementOf
from contracts.tasks import FreshAddress, FreshAddressOf, LookAtTask, LookedAtTask, TakenResult, TakeResult
from contracts.usage import UsageOf, UsageReport
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice, ForgottenVoices
from contracts.watching import BookFigures, Course, CourseOf, FiguresOf, WorkFigures

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
LEDGER_PLANS = "ledger.plans"
LEDGER_SET_PRICES = "ledger.set_prices"
LEDGER_COURSE = "ledger.course"
LEDGER_FIGURES = "ledger.figures"
GENERATOR_CATALOG = "generator.catalog"
GENERATOR_MODELS = "generator.models"
GENERATOR_SWITCH_MODEL = "generator.switch_model"
GENERATOR_FRESH_ADDRESS = "generator.fresh_address"
GENERATOR_KEYS = "generator.keys"
GENERATOR_SET_KEY = "generator.set_key"
GENERATOR_TAKE_RESULT = "generator.take_result"
GENERATOR_LOOK_AT_TASK = "generator.look_at_task"
GENERATOR_MODERATE = "generator.moderate"
GENERATOR_CLONE_VOICE = "generator.clone_voice"
GENERATOR_FORGET_VOICE = "generator.forget_voice"
GENERATOR_COURSE = "generator.course"
GENERATOR_FIGURES = "generator.figures"
GENERATOR_FINISH_TEXT = "generator.finish_text"
GENERATOR_JUDGE_FRAMES = "generator.judge_frames"
GATEWAY_OUTCOMES = "gateway.outcomes"
GATEWAY_FORGET_VOICES = "gateway.forget_voices"
STORAGE_TAKE_UPLOAD = "storage.take_upload"
STORAGE_OFFER_UPLOAD = "storage.offer_upload"
STORAGE_FIND_MEDIA = "storage.find_media"
STORAGE_LEND = "storage.lend"
STORAGE_USAGE = "storage.usage"
STORAGE_KEEP = "storage.keep"
STORAGE_DELETE = "storage.delete"
STORAGE_SHOW = "storage.show"
STORAGE_FORGET = "storage.forget"
STORAGE_REUSE = "storage.reuse"
STORAGE_COURSE = "storage.course"

MAX_IDS_PER_QUESTION = 500
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


class GrantCredits(Frozen):
    """Give a user `amount` units; the same `grant_id` is given once."""

    grant_id: UUID
    user_id: UUID
    amount: Units = Field(gt=0)
    reason: str = "granted"


class CreditsGranted(Balance):
    """The user's balance as it is now. `problem`: why nothing was given."""

    problem: str | None = None


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


class PlansOf(Frozen):
    """Which plans are these users on?"""

    user_ids: tuple[UUID, ...] = Field(max_length=MAX_IDS_PER_QUESTION)


class UserPlan(Frozen):
    user_id: UUID
    name: str


class UserPlans(Frozen):
    """One for each user who was asked about."""

    plans: tuple[UserPlan, ...]


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
    needs: tuple[str, ...] = ()
    """The roles without which it makes nothing."""
    voices: tuple[str, ...] = ()
    follows_speech: bool = False
    """Whether its videos are as long as what is said in them: the prompt, or the sound that it starts from."""
    max_tokens: int | None = None
    """The longest text that it writes."""
    calls_tools: bool = False
    """Whether it can call for tools while it writes."""
    max_count: int = 1
    max_prompt_characters: int = 4000
    deadline_seconds: int = 300
    p99_seconds: int = 60


class Catalog(Frozen):
    version: int
    models: tuple[CatalogModel, ...]


class ListedModel(Frozen):
    """A model as its operator sees it, switched off or not."""

    model: CatalogModel
    provider_model: str
    """By the provider's own name."""
    fallbacks: tuple[str, ...] = ()
    """Who does its work while its provider does not answer."""
    has_key: bool
    """Whether whoever does its work has one."""


class Models(Frozen):
    """All of them, in the catalog's order."""

    version: int
    models: tuple[ListedModel, ...]


class SwitchModel(Frozen):
    """Offer a model from now on, or no longer: then nothing is begun with it, and what was begun is carried out."""

    id: str
    on: bool


class SwitchedModel(Frozen):
    """The model as it is now. `problem`: why nothing was changed."""

    model: ListedModel | None = None
    problem: str | None = None


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


class FinishText(Frozen):
    """End a text with what was said of it to clients. Every process is asked; who does not write it keeps silent."""

    generation_id: UUID


class FinishedText(Frozen):
    """Whether the text has its outcome now. It has none by this where nothing had been said of it."""

    is_finished: bool


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
    LEDGER_GRANT: (GrantCredits, CreditsGranted),
    LEDGER_STATEMENT: (StatementOf, Statement),
    LEDGER_CREDIT_PACKS: (Nothing, CreditPacks),
    LEDGER_CREATE_PAYMENT: (CreatePayment, CreatedPayment),
    LEDGER_CONFIRM_PAYMENT: (ConfirmPayment, ConfirmedPayment),
    LEDGER_PAYMENT_EVENT: (PaymentEvent, PaymentEventVerdict),
    LEDGER_CONSUME: (ConsumeCredits, Consumption),
    LEDGER_USAGE: (UsageOf, UsageReport),
    LEDGER_SET_PLAN: (SetPlan, PlanSet),
    LEDGER_PLANS: (PlansOf, UserPlans),
    LEDGER_SET_PRICES: (SetPrices, PricesSet),
    LEDGER_COURSE: (CourseOf, Course),
    LEDGER_FIGURES: (FiguresOf, BookFigures),
    GENERATOR_CATALOG: (Nothing, Catalog),
    GENERATOR_MODELS: (Nothing, Models),
    GENERATOR_SWITCH_MODEL: (SwitchModel, SwitchedModel),
    GENERATOR_FRESH_ADDRESS: (FreshAddressOf, FreshAddress),
    GENERATOR_KEYS: (KeysOf, Keys),
    GENERATOR_SET_KEY: (SetKey, Keys),
    GENERATOR_TAKE_RESULT: (TakeResult, TakenResult),
    GENERATOR_LOOK_AT_TASK: (LookAtTask, LookedAtTask),
    GENERATOR_MODERATE: (Moderate, Moderated),
    GENERATOR_CLONE_VOICE: (CloneVoice, ClonedVoice),
    GENERATOR_FORGET_VOICE: (ForgetVoice, ForgottenVoice),
    GENERATOR_COURSE: (CourseOf, Course),
    GENERATOR_FIGURES: (FiguresOf, WorkFigures),
    GENERATOR_FINISH_TEXT: (FinishText, FinishedText),
    GENERATOR_JUDGE_FRAMES: (JudgeFrames, JudgedFrames),
    GATEWAY_OUTCOMES: (RecordedOutcomes, Recorded),
    GATEWAY_FORGET_VOICES: (Forget, ForgottenVoices),
    STORAGE_TAKE_UPLOAD: (TakeUpload, TakenUpload),
    STORAGE_OFFER_UPLOAD: (OfferUpload, OfferedUpload),
    STORAGE_FIND_MEDIA: (FindMedia, FoundMedia),
    STORAGE_LEND: (Lend, Lent),
    STORAGE_USAGE: (StoredBy, Stored),
    STORAGE_KEEP: (Keep, Stored),
    STORAGE_DELETE: (Delete, ChangedAssets),
    STORAGE_SHOW: (Show, ChangedAssets),
    STORAGE_FORGET: (Forget, ChangedAssets),
    STORAGE_REUSE: (ReuseAssets, ChangedAssets),
    STORAGE_COURSE: (CourseOf, Course),
}

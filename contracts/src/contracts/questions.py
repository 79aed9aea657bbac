"""Questions with an immediate answer: NATS request/reply to the service that owns it."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.facts import Kind, Outcome
from contracts.model import Frozen
from contracts.money import PriceList, Units

LEDGER_AFFORDABLE = "ledger.affordable"
LEDGER_BALANCE = "ledger.balance"
LEDGER_PRICES = "ledger.prices"
LEDGER_GRANT = "ledger.grant"
LEDGER_STATEMENT = "ledger.statement"
GENERATOR_CATALOG = "generator.catalog"
GENERATOR_KEYS = "generator.keys"
GENERATOR_SET_KEY = "generator.set_key"
GATEWAY_OUTCOMES = "gateway.outcomes"

MAX_IDS_PER_QUESTION = 500
MAX_STATEMENT_ENTRIES = 500
"""On one page."""


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
    """A user's money in units: `used` is what was captured so far."""

    available: Units
    held: Units
    used: Units


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
    """What one generation or one gift did to a user's credits, in units.

    What a user has, held included, is all that was granted, less what was captured, plus what was refunded.
    """

    at: AwareDatetime
    """When it was held, or given."""
    entry: Literal["generation", "grant", "starting_grant"]
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


QUESTIONS: dict[str, tuple[type[Frozen], type[Frozen]]] = {
    LEDGER_AFFORDABLE: (Affordable, Affordability),
    LEDGER_BALANCE: (BalanceOf, Balance),
    LEDGER_PRICES: (Nothing, PriceList),
    LEDGER_GRANT: (GrantCredits, Balance),
    LEDGER_STATEMENT: (StatementOf, Statement),
    GENERATOR_CATALOG: (Nothing, Catalog),
    GENERATOR_KEYS: (KeysOf, Keys),
    GENERATOR_SET_KEY: (SetKey, Keys),
    GATEWAY_OUTCOMES: (RecordedOutcomes, Recorded),
}

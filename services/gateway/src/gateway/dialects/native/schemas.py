"""The bodies of /v1. Amounts are credits; times are RFC 3339 in UTC."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictFloat, StrictInt, field_validator

from contracts.facts import Kind, Lane, Message
from contracts.money import Per, Usage, to_units

Status = Literal["pending", "processing", "completed", "failed", "declined", "cancelled"]


class NewGeneration(BaseModel):
    """What to make."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {"kind": "image", "prompt": "A beautiful sunset over mountains"},
                {
                    "kind": "image",
                    "prompt": "A lighthouse in a storm, oil on canvas",
                    "model": "seedream-3-0-t2i-250415",
                    "count": 4,
                    "size": "1536x1024",
                },
            ]
        },
    )

    kind: Kind
    prompt: str = Field(description="What to show, in words.")
    model: str | None = Field(default=None, description="One of `GET /v1/models`; the first of the kind if absent.")
    count: int = Field(default=1, strict=True, description="How many, 1 to 4; each is paid for only when delivered.")
    size: str | None = Field(default=None, description="Width x height in pixels, one of the model's sizes.")
    seconds: int | None = Field(default=None, strict=True, description="How long a video has to be.")
    messages: list[Message] = Field(default=[], description="What was said before the prompt, the oldest first.")
    max_tokens: int | None = Field(default=None, strict=True, description="How long a text may become.")
    prepaid: bool = Field(
        default=False, strict=True, description="What you consumed in the last 15 minutes pays first."
    )
    options: dict[str, JsonValue] = Field(default={}, description="What only this model understands.")
    lane: Lane = Field(default=Lane.INTERACTIVE, description="`batch` never delays a person.")


class AssetView(BaseModel):
    """A stored file. Its addresses load without a token."""

    id: UUID
    url: str
    mime_type: str
    width: int | None
    height: int | None
    seconds: float | None = Field(description="How long it plays.")
    sha256: str
    variants: dict[str, str] = Field(description="`medium` and `thumbnail`, as WebP; `poster` of a video.")


class ErrorView(BaseModel):
    """Why a generation ended without being completed."""

    code: str
    message: str


class GenerationView(BaseModel):
    """A generation as it is now."""

    id: UUID
    status: Status
    kind: Kind
    model: str
    prompt: str
    count: int
    size: str | None
    seconds: int | None
    quote: int | float = Field(description="What it costs at most.")
    cost: int | float = Field(description="What was paid; 0 until completed, and for whatever was not delivered.")
    assets: list[AssetView]
    text: str | None = Field(description="What was written, for the kind `text`.")
    usage: Usage | None = Field(description="The tokens that a text took.")
    error: ErrorView | None
    created_at: datetime
    completed_at: datetime | None


class GenerationPage(BaseModel):
    """Newest first."""

    items: list[GenerationView]
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; null at the end.")


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
    balance: float = Field(description="What the available ones are worth, in `currency`.")
    currency: Literal["USD"] = "USD"
    last_updated: datetime | None = Field(description="When they changed; null until they did.")


class StatementEntryView(BaseModel):
    """What one generation or one gift did to the credits. `granted - captured + refunded` is the change."""

    at: datetime
    entry: Literal["generation", "grant", "starting_grant", "monthly_grant", "consumed"]
    generation_id: UUID | None
    state: Literal["open", "captured", "released", "declined", "expired"] | None = Field(
        description="Of the hold: `open` until the generation ends."
    )
    quote: int | float = Field(description="What was set aside at most.")
    captured: int | float = Field(description="What was paid, for what was delivered.")
    released: int | float = Field(description="What was set aside and given back.")
    refunded: int | float = Field(description="What was paid and given back.")
    granted: int | float
    why: str


class StatementPage(BaseModel):
    """Newest first. All entries together add up to the credits that are available or held."""

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


class PriceView(BaseModel):
    """Credits for one output, or for a measure of it; null stands for any size or quality that no other names."""

    price: int | float
    per: Per
    input_price: int | float | None = Field(
        description="For a million tokens that are read, where `price` is for those that are written."
    )
    size: str | None
    quality: str | None


class ModelView(BaseModel):
    """What can be asked of a model."""

    id: str
    kind: Kind
    provider: str
    state: Literal["active", "legacy"]
    successor: str | None = Field(description="Does the work of a `legacy` model.")
    sizes: list[str]
    default_size: str | None
    seconds: list[int] = Field(description="How long its videos can be; shorter ones are trimmed to what was asked.")
    default_seconds: int | None
    ratios: list[str]
    inputs: list[str] = Field(description="What it can start from.")
    voices: list[str]
    max_tokens: int | None
    max_count: int
    max_prompt_characters: int
    price: int | float = Field(description="Credits for each output that no special price fits.")
    prices: list[PriceView] = Field(description="All of its prices; the most special one that fits counts.")


class Models(BaseModel):
    items: list[ModelView]


class Problem(BaseModel):
    """RFC 9457. `code` is stable; 402 adds `required` and `available`, 422 adds `errors`."""

    type: str
    title: str
    status: int
    detail: str
    code: str

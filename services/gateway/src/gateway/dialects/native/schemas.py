"""The bodies of /v1. Amounts are credits; times are RFC 3339 in UTC."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self, get_args
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    model_validator,
)

from contracts.facts import Kind, Lane, Role, Visibility
from contracts.money import Per, Usage
from gateway.batches import MAX_ITEMS
from gateway.orders import MAX_INPUTS

Moment = Annotated[AwareDatetime, Field(ge=datetime(1, 1, 2, tzinfo=UTC), lt=datetime(9999, 12, 31, tzinfo=UTC))]
"""What is a day and a time in UTC as well, wherever it was said."""
Status = Literal["pending", "processing", "completed", "failed", "declined", "cancelled"]


class Message(BaseModel):
    """What was said before the prompt. What tools say is no user's to say."""

    role: Literal["system", "user", "assistant"]
    content: str


class NewInput(BaseModel):
    """Something of yours, or something public, to start from: exactly one of `asset_id`, `upload_id` and `url`."""

    model_config = ConfigDict(extra="forbid")

    role: Role = Field(description="What it is to the model: one of the model's `inputs`.")
    asset_id: UUID | None = Field(default=None, description="An asset that you have.")
    upload_id: UUID | None = Field(default=None, description="A file that you brought.")
    url: str | None = Field(
        default=None, description="An address of ours, signed or not, of media that is yours; or a public https one."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.asset_id, self.upload_id, self.url)) != 1:
            raise ValueError("exactly one of asset_id, upload_id and url")
        return self


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
    inputs: list[NewInput] = Field(default=[], max_length=MAX_INPUTS, description="What to start from.")
    messages: list[Message] = Field(default=[], description="What was said before the prompt, the oldest first.")
    max_tokens: int | None = Field(default=None, strict=True, description="How long a text may become.")
    prepaid: bool = Field(
        default=False, strict=True, description="What you consumed in the last 15 minutes pays first."
    )
    reuse: bool = Field(
        default=False,
        strict=True,
        description="What you got for the same request before, where that said so too, will do, for less or nothing.",
    )
    options: dict[str, JsonValue] = Field(default={}, description="What only this model understands.")
    visibility: Visibility = Field(
        default=Visibility.PUBLIC,
        description="`public`: an address is permanent, and whoever has it can look. `owner`: you alone, and those to "
        "whom you give a link.",
    )
    lane: Lane | None = Field(
        default=None, description="`batch` never delays a person; a batch goes there, all else is `interactive`."
    )


class ChangedGeneration(BaseModel):
    """What is to be different from now on."""

    model_config = ConfigDict(extra="forbid")

    visibility: Visibility


class NewBatch(BaseModel):
    """What to make together: all of it is accepted, or nothing."""

    model_config = ConfigDict(extra="forbid")

    items: list[NewGeneration] = Field(min_length=1, max_length=MAX_ITEMS)


class QuoteView(BaseModel):
    """What a generation would cost. Nothing is set aside by asking."""

    kind: Kind
    model: str
    count: int
    size: str | None
    seconds: int | None
    max_tokens: int | None
    quote: int | float = Field(description="What it would cost at most.")
    unit_price: int | float = Field(description="What each output would cost at most.")
    price_version: int
    available: int | float = Field(description="With what you consumed, where that pays first.")
    affordable: bool = Field(description="Whether that, and what your plan leaves today, would do for it now.")


class AssetView(BaseModel):
    """A stored file. Its addresses load without a token; those of what is its owner's alone for a while."""

    id: UUID
    url: str
    mime_type: str
    width: int | None
    height: int | None
    seconds: float | None = Field(description="How long it plays.")
    sha256: str
    variants: dict[str, str] = Field(
        description="`full`, `medium` and `thumbnail` as WebP, a video's `poster`; a sound's `waveform`, as JSON."
    )


class UploadView(BaseModel):
    """A file that was taken."""

    id: UUID
    asset: AssetView
    visibility: Visibility


class NewUpload(BaseModel):
    """A file to be put into the bucket by the browser itself."""

    model_config = ConfigDict(extra="forbid")

    mime_type: str = Field(max_length=100, examples=["image/png"])
    size_bytes: int = Field(ge=1, le=2**53 - 1, strict=True)


class UploadForm(BaseModel):
    """Post `fields`, then the file as `file`, to `url`; then finalize."""

    id: UUID
    url: str
    fields: dict[str, str]
    expires_at: datetime


class ErrorView(BaseModel):
    """Why a generation ended without being completed."""

    code: str
    message: str
    stage: str | None = Field(
        default=None, description="What moderation here looked at, where it refused: `prompt` or `picture`."
    )


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
    visibility: Visibility
    assets: list[AssetView]
    text: str | None = Field(description="What was written, for the kind `text`.")
    usage: Usage | None = Field(description="The tokens that a text took.")
    cached: bool = Field(description="Whether it is what you got before; only where `reuse` allowed that.")
    error: ErrorView | None
    created_at: datetime
    completed_at: datetime | None


class NewLinks(BaseModel):
    """For whom a generation's files are to be opened, and for how long."""

    model_config = ConfigDict(extra="forbid")

    lifetime_seconds: int = Field(default=3600, ge=60, le=604_800, strict=True)
    download: bool = Field(default=False, description="Whether a browser is to keep them as files.")


class LinkView(BaseModel):
    asset_id: UUID
    url: str


class Links(BaseModel):
    """Addresses for others, which open without a token."""

    items: list[LinkView]
    expires_at: datetime | None = Field(description="Null where addresses are permanent here.")


class GenerationPage(BaseModel):
    """Newest first."""

    items: list[GenerationView]
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; null at the end.")


class BatchView(BaseModel):
    """Generations that were asked for together."""

    id: UUID
    total: int
    finished: int
    quote: int | float = Field(description="What all of them cost at most.")
    cost: int | float = Field(description="What was paid so far.")
    items: list[GenerationView] = Field(description="In the order in which they were asked for.")


Event = Literal["generation.completed", "generation.failed", "generation.declined", "generation.cancelled"]


class NewWebhook(BaseModel):
    """Where to be told, and of what."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="An https address of yours, on port 443.")
    events: list[Event] = Field(default=list(get_args(Event)), description="Which events; all if absent.")


class WebhookChange(BaseModel):
    """What is absent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = None
    events: list[Event] | None = None
    state: Literal["active", "disabled"] | None = None


class WebhookView(BaseModel):
    """Where you want to be told."""

    id: UUID
    url: str
    events: list[str]
    state: Literal["active", "disabled"]
    why_disabled: str | None
    failing_since: datetime | None = Field(description="Since when nothing was taken.")
    previous_secret_until: datetime | None = Field(description="Until when the secret before signs as well.")
    created_at: datetime
    secret: str | None = Field(default=None, description="Shown once, when it is new.")


class Webhooks(BaseModel):
    items: list[WebhookView]


class DeliveryView(BaseModel):
    """One event for one webhook, sent until it is taken or a day is over."""

    id: UUID
    generation_id: UUID | None
    event: str
    state: Literal["pending", "delivered", "parked"]
    attempts: int
    next_at: datetime | None = Field(description="When it is tried next, while it is pending.")
    status: int | None = Field(description="What the receiver answered last.")
    error: str | None
    created_at: datetime
    ended_at: datetime | None


class Deliveries(BaseModel):
    """Newest first. Give the last `id` as `before` for those before it."""

    items: list[DeliveryView]


class Period(BaseModel):
    """From `since` on, before `until`."""

    model_config = ConfigDict(extra="forbid")

    since: Moment
    until: Moment
    after: UUID | None = Field(None, description="Only those that come after this delivery.")


class Redelivered(BaseModel):
    deliveries: int = Field(description="How many are sent again, at most 100.")
    last: UUID | None = Field(
        None, description="The last of them, where there may be more: ask again with it as `after`."
    )


class NewProviderKey(BaseModel):
    """A key of your own."""

    model_config = ConfigDict(extra="forbid")

    key: SecretStr = Field(min_length=8, max_length=500)


class ProviderKeyView(BaseModel):
    """A key that is set: all that is ever shown of it."""

    provider: str
    last4: str
    set_at: datetime


class ProviderKeys(BaseModel):
    items: list[ProviderKeyView]


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
    needs: list[str] = Field(description="Without which of these it makes nothing.")
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

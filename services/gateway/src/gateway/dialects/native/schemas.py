"""The bodies of /v1. Amounts are credits; times are RFC 3339 in UTC."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.facts import Kind, Lane

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
    options: dict[str, JsonValue] = Field(default={}, description="What only this model understands.")
    lane: Lane = Field(default=Lane.INTERACTIVE, description="`batch` never delays a person.")


class AssetView(BaseModel):
    """A stored file. Its addresses load without a token."""

    id: UUID
    url: str
    mime_type: str
    width: int | None
    height: int | None
    sha256: str
    variants: dict[str, str] = Field(
        description="`full`, `medium` and `thumbnail` as WebP, a video's `poster`; a sound's `waveform`, as JSON."
    )


class UploadView(BaseModel):
    """A file that was taken."""

    id: UUID
    asset: AssetView


class NewUpload(BaseModel):
    """A file to be put into the bucket by the browser itself."""

    model_config = ConfigDict(extra="forbid")

    mime_type: str = Field(max_length=100, examples=["image/png"])
    size_bytes: int = Field(ge=1, strict=True)


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


class GenerationView(BaseModel):
    """A generation as it is now."""

    id: UUID
    status: Status
    kind: Kind
    model: str
    prompt: str
    count: int
    size: str | None
    quote: int | float = Field(description="What it costs at most.")
    cost: int | float = Field(description="What was paid; 0 until completed, and for whatever was not delivered.")
    assets: list[AssetView]
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


class Credits(BaseModel):
    """A user's credits."""

    available: int | float
    held: int | float = Field(description="Set aside for generations that are not finished.")
    used: int | float = Field(description="Paid so far.")


class StatementEntryView(BaseModel):
    """What one generation or one gift did to the credits. `granted - captured + refunded` is the change."""

    at: datetime
    entry: Literal["generation", "grant", "starting_grant"]
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


class PriceView(BaseModel):
    """Credits for one output, or for each second of it; null stands for any size or quality that no other names."""

    price: int | float
    per: Literal["output", "second"]
    size: str | None
    quality: str | None


class ModelView(BaseModel):
    """What can be asked of a model."""

    id: str
    kind: Kind
    provider: str
    state: Literal["active", "legacy"]
    sizes: list[str]
    default_size: str | None
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

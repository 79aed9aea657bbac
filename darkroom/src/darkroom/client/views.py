"""What a gateway answers, as docs/openapi.json has it. Amounts are credits; what is new to us is left out."""

from datetime import datetime
from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from darkroom.client.wishes import NewInput

Ended = Literal["completed", "failed", "declined", "cancelled"]
Status = Literal["pending", "processing", Ended]
Visibility = Literal["public", "owner"]
Credits = int | float


class View(BaseModel):
    """What there is, as it was when it was asked for."""

    model_config = ConfigDict(frozen=True)


class Asset(View):
    """A stored file. Its addresses load without a token."""

    id: UUID
    url: str
    mime_type: str
    width: int | None
    height: int | None
    seconds: float | None
    sha256: str
    variants: dict[str, str]


class Upload(View):
    """A file that was taken."""

    id: UUID
    asset: Asset
    visibility: Visibility

    def as_input(self, role: str) -> NewInput:
        """This file, to start from."""
        return {"role": role, "upload_id": self.id}


class Failure(View):
    """Why a generation ended without being completed."""

    code: str
    message: str
    stage: str | None = None


class Usage(View):
    """The tokens that a text took."""

    input_tokens: int
    output_tokens: int


class Generation(View):
    """A generation as it was when it was looked at."""

    id: UUID
    status: Status
    kind: str
    model: str
    prompt: str
    count: int
    size: str | None
    seconds: int | None
    quote: Credits
    cost: Credits
    visibility: Visibility
    assets: tuple[Asset, ...]
    text: str | None
    usage: Usage | None
    cached: bool
    error: Failure | None
    created_at: datetime
    completed_at: datetime | None

    @property
    def is_final(self) -> bool:
        return self.status in get_args(Ended)


class Progress(View):
    """How far a generation is. Some may be lost; the numbers grow."""

    number: int
    stage: str
    percent: Annotated[int, Field(ge=0, le=100)]
    is_estimate: bool = False
    remaining_seconds: int | None = None
    position: int | None = None
    text: str | None = None


class GenerationPage(View):
    items: tuple[Generation, ...]
    next_cursor: str | None


class Quote(View):
    """What a generation would cost at most."""

    kind: str
    model: str
    count: int
    size: str | None
    seconds: int | None
    max_tokens: int | None
    quote: Credits
    unit_price: Credits
    price_version: int
    available: Credits
    affordable: bool


class Batch(View):
    """Generations that were asked for together, in that order."""

    id: UUID
    total: int
    finished: int
    quote: Credits
    cost: Credits
    items: tuple[Generation, ...]


class Balance(View):
    """A user's credits."""

    available: Credits
    held: Credits
    used: Credits
    owed: Credits
    balance: float
    currency: str
    last_updated: datetime | None


class StatementEntry(View):
    """What a generation, a gift or a payment did to the credits."""

    at: datetime
    entry: str
    generation_id: UUID | None
    state: str | None
    quote: Credits
    captured: Credits
    released: Credits
    refunded: Credits
    granted: Credits
    why: str


class StatementPage(View):
    items: tuple[StatementEntry, ...]
    next_cursor: str | None


class Price(View):
    """Credits for one output, or for a measure of it; null stands for any."""

    price: Credits
    per: str
    input_price: Credits | None
    size: str | None
    quality: str | None


class Model(View):
    """What can be asked of a model."""

    id: str
    kind: str
    provider: str
    state: str
    successor: str | None
    sizes: tuple[str, ...]
    default_size: str | None
    seconds: tuple[int, ...]
    default_seconds: int | None
    ratios: tuple[str, ...]
    inputs: tuple[str, ...]
    needs: tuple[str, ...]
    voices: tuple[str, ...]
    max_tokens: int | None
    max_count: int
    max_prompt_characters: int
    price: Credits
    prices: tuple[Price, ...]


class Models(View):
    items: tuple[Model, ...]


class Webhook(View):
    """Where a user wants to be told. `secret` is there once, when it is new."""

    id: UUID
    url: str
    events: tuple[str, ...]
    state: str
    why_disabled: str | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime
    secret: str | None = Field(default=None, repr=False)


class Webhooks(View):
    items: tuple[Webhook, ...]


class ApiKey(View):
    """`key` is there once, when it is new; `prefix` tells which it is."""

    id: UUID
    name: str
    prefix: str
    key: str | None = Field(default=None, repr=False)
    scopes: tuple[str, ...]
    requests_per_minute: int | None
    credits_per_day: Credits | None
    credits_per_month: Credits | None
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    previous_works_until: datetime | None


class ApiKeys(View):
    items: tuple[ApiKey, ...]

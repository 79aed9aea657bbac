"""The facts: CloudEvents 1.0 in JSON, past tense, immutable.

A fact is published on the subject that `contracts.topology` gives it. `id` is deterministic, so that whoever says
the same thing twice is heard once. `traceparent` is the W3C header of the request that began it all.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, JsonValue

from contracts.ids import event_id
from contracts.model import Frozen
from contracts.money import Quote, Usage
from contracts.talking import Call, Message, Tool

CONTENT_TYPE = "application/cloudevents+json"


def _storable(said: str) -> str:
    return said.encode("utf-8", "replace").decode().replace("\x00", "")


Said = Annotated[str, AfterValidator(_storable)]
"""In a provider's words. It may say anything; neither NUL nor half a surrogate pair can be stored."""


class Kind(StrEnum):
    """What is made."""

    IMAGE = "image"
    VIDEO = "video"
    SPEECH = "speech"
    TEXT = "text"


class Lane(StrEnum):
    """Who waits: a person, or a batch that must never delay one."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Verdict(StrEnum):
    """How a generation ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    DECLINED = "declined"
    CANCELLED = "cancelled"


Role = Literal["image", "first_frame", "last_frame", "mask", "audio", "video"]


class Input(Frozen):
    """What a generation starts from. Exactly one of `url` (the provider reads it), `claim` and `asset_id` is set."""

    role: Role
    url: str | None = None
    claim: str | None = None
    """The name of an object in the claims bucket."""
    asset_id: UUID | None = None
    """A stored media object of the same user's; storage lends its bytes to whoever is about to use them."""
    variant: str | None = None
    """Which of the asset's; None is the original."""
    seconds: float | None = None
    """How long it plays, where storage knows it."""
    mime_type: str | None = None


class Visibility(StrEnum):
    """Who may look at what is stored: whoever has its address, or its owner alone."""

    PUBLIC = "public"
    OWNER = "owner"


class Reuse(Frozen):
    """A request may be answered with what the same user got for the same one, where that said so, too."""

    seconds: int = Field(ge=1)
    """How old it may be."""
    percent: int = Field(ge=0, le=100)
    """What it then costs, of its price."""


class Cached(Frozen):
    """What was made for an earlier generation of the same user, in the place of something new."""

    generation_id: UUID
    """The earlier one."""
    percent: int = Field(ge=0, le=100)
    """What it costs, of its price."""


class Request(Frozen):
    """What was asked for, as accepted."""

    generation_id: UUID
    user_id: UUID
    kind: Kind
    lane: Lane = Lane.INTERACTIVE
    model: str
    prompt: str
    count: int = Field(ge=1)
    size: str | None = None
    """Width and height in pixels, as in `1024x1024`."""
    seconds: int | None = None
    """How long a video or a speech has to be, where that was asked."""
    inputs: tuple[Input, ...] = ()
    messages: tuple[Message, ...] = ()
    """What was said before the prompt, the oldest first; only for text."""
    since: tuple[Message, ...] = ()
    """What was said after the prompt: calls of tools, and what came of each; only for text."""
    tools: tuple[Tool, ...] = ()
    """What the model may call for; only for text."""
    max_tokens: int | None = None
    """How long a text may become; its quote covers as many."""
    options: dict[str, JsonValue] = {}
    """What only some models understand, by the model's own names."""
    prepaid: bool = False
    """Whether what was consumed from its account a moment ago pays first: both are one purchase."""
    reuse: Reuse | None = None
    """None: it is made in any case."""
    visibility: Visibility = Visibility.PUBLIC
    payer_id: UUID | None = None
    """Whose account pays for it; None: its user's own. The gateway's settings say it, never a client."""
    quote: Quote
    deadline_at: AwareDatetime

    @property
    def account_id(self) -> UUID:
        """The account that the quote is held on."""
        return self.payer_id or self.user_id


class Output(Frozen):
    """One thing that a provider returned, or why it is missing. Exactly one of `url`, `claim`, `failure` is set."""

    index: int
    url: Said | None = None
    """The provider's address; it expires."""
    claim: str | None = None
    """The name of an object in the claims bucket, where the provider returned bytes."""
    failure: "Failure | None" = None
    mime_type: Said | None = None
    """As the provider says; storage believes only the content."""


class Failure(Frozen):
    """Why something was not delivered. `code` is for programs, `message` for people; neither holds a secret."""

    code: str
    message: Said
    stage: str | None = None
    """What moderation here looked at, where it refused: `prompt`, `picture` or `film`."""


class Rendering(Frozen):
    """What the provider returned; `judge_frames`: what its films show is to be judged before anybody sees them."""

    request: Request
    provider: str
    outputs: tuple[Output, ...]
    cached: Cached | None = None
    """Set where storage has its assets already, from an earlier generation: the outputs then name none."""
    judge_frames: bool = False


class Asset(Frozen):
    """A stored media object."""

    id: UUID
    index: int
    key: str
    """Where it is served below `/media/`."""
    mime_type: str
    size_bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    """How long it plays."""
    bitrate: int | None = None
    """Bits per second."""
    blurhash: str | None = None
    provider_size: str | None = None
    """What the provider delivered, where it was not the size asked for, as in `2048x2048`."""
    variants: dict[str, str] = {}
    """Variant name → key; made at the latest when first asked for."""
    source_url: str | None = None
    """The provider's own address, for records only."""


CutBy = Literal["cancel", "deadline"]
"""Its user cancelled a text while it was written and read, or its time was over."""


class Ending(Frozen):
    """The final word on a generation."""

    generation_id: UUID
    verdict: Verdict
    assets: tuple[Asset, ...] = ()
    text: str | None = None
    """What was written, whole; only for text. Empty where the model only called for tools."""
    calls: tuple[Call, ...] = ()
    """The tools that the model called for; only for text."""
    usage: Usage | None = None
    """What is paid for where the price is per token."""
    provider: str | None = None
    failure: Failure | None = None
    cut_by: CutBy | None = None
    """Why a text ended before its model had ended it; None where it is whole."""
    cached: Cached | None = None
    """Set where it was made before; None where it is new."""

    @property
    def delivered(self) -> int:
        """How many outputs are paid for."""
        return len(self.assets) if self.text is None else 1

    @property
    def percent(self) -> int:
        """How much of their price is paid."""
        return self.cached.percent if self.cached is not None else 100


class Event(Frozen):
    """The CloudEvents envelope."""

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: str
    """The service that says it."""
    type: str
    subject: str
    """The id of the generation; of the user, where it is about credits."""
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = None

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises pydantic.ValidationError for anything that is not this fact."""
        return cls.model_validate_json(payload)


class Requested(Event):
    """A generation was accepted; its row is committed."""

    type: Literal["darkroom.generation.requested"] = "darkroom.generation.requested"
    data: Request

    @classmethod
    def of(cls, request: Request, source: str, traceparent: str | None) -> Self:
        return cls(**_envelope("requested", source, request.generation_id, traceparent), data=request)


class Funded(Event):
    """The quote is held."""

    type: Literal["darkroom.generation.funded"] = "darkroom.generation.funded"
    data: Request

    @classmethod
    def of(cls, request: Request, source: str, traceparent: str | None) -> Self:
        return cls(**_envelope("funded", source, request.generation_id, traceparent), data=request)


class Rendered(Event):
    """The provider delivered, wholly or in part."""

    type: Literal["darkroom.generation.rendered"] = "darkroom.generation.rendered"
    data: Rendering

    @classmethod
    def of(cls, rendering: Rendering, source: str, traceparent: str | None) -> Self:
        return cls(**_envelope("rendered", source, rendering.request.generation_id, traceparent), data=rendering)


class Outcome(Event):
    """The one final fact of a generation."""

    type: Literal["darkroom.generation.outcome"] = "darkroom.generation.outcome"
    data: Ending

    @classmethod
    def of(cls, ending: Ending, source: str, traceparent: str | None) -> Self:
        envelope = _envelope("outcome", source, ending.generation_id, traceparent, what=ending.verdict)
        return cls(**envelope, data=ending)


class Grant(Frozen):
    """Credits given to a user, in units."""

    user_id: UUID
    amount: int
    reason: str


class Granted(Event):
    """A user's credits grew without a payment."""

    type: Literal["darkroom.credits.granted"] = "darkroom.credits.granted"
    data: Grant


class Receipt(Frozen):
    """Credits that a user paid for."""

    payment_id: UUID
    user_id: UUID
    amount: int
    """In units."""
    price: int
    """In minor units of the currency."""
    currency: str
    payment_intent: str
    """Stripe's id."""


class PaymentReceived(Event):
    """A user paid, and the credits are theirs."""

    type: Literal["darkroom.credits.payment_received"] = "darkroom.credits.payment_received"
    data: Receipt

    @classmethod
    def of(cls, receipt: Receipt, source: str) -> Self:
        envelope = _envelope("payment_received", source, receipt.payment_id, None)
        return cls(**{**envelope, "subject": str(receipt.user_id)}, data=receipt)


class Change(Frozen):
    """A user's balance in units after it changed, and by how much what is available did: what is left of it once it has
    paid what is owed, as it soon does."""

    user_id: UUID
    available: int
    held: int
    used: int
    change: int


class Changed(Event):
    """A user's credits changed. A lost one is harmless, since the next carries the balance as well."""

    type: Literal["darkroom.credits.changed"] = "darkroom.credits.changed"
    data: Change


class Notice(Frozen):
    """What a client may be told: its record is final and committed."""

    generation_id: UUID
    user_id: UUID
    status: Verdict
    dialect: str
    shown: str | None = None
    """The generation as `/v1` shows it to its owner, in JSON on one line; None where its record has to be read."""


class Notified(Event):
    """A client-visible change, in the order in which clients see it."""

    type: Literal["darkroom.notification"] = "darkroom.notification"
    data: Notice

    @classmethod
    def of(cls, notice: Notice, source: str, traceparent: str | None) -> Self:
        envelope = _envelope("notified", source, notice.generation_id, traceparent, what=notice.status)
        return cls(**envelope, data=notice)


FACTS: tuple[type[Event], ...] = (Requested, Funded, Rendered, Outcome, Granted, PaymentReceived, Changed, Notified)


def _envelope(
    fact: str, source: str, generation_id: UUID, traceparent: str | None, what: str = ""
) -> dict[str, object]:
    return {
        "id": event_id(fact, source, generation_id, what),
        "source": source,
        "subject": str(generation_id),
        "time": datetime.now(UTC),
        "traceparent": traceparent,
    }

"""The bodies of /functions/v1: of each function the seed's and the client's keys. What it does not know is ignored."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, StrictInt, field_validator, model_validator

from gateway.dialects.jaaz.schemas import Document, Number, TokenUsage

MAX_CREDITS = 10**9
MAX_AMOUNT = 10**9
MAX_MESSAGES = 200
Amount = Number | Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", max_length=20)]


class FunctionError(BaseModel):
    success: bool
    error: str
    message: str
    code: str


class ConsumeCredits(BaseModel):
    """Exactly one of `amount` and `credits`, in credits."""

    user_id: str | None = None
    amount: Amount | None = None
    credits: Amount | None = None
    description: str = Field(default="consumed", max_length=500)

    @field_validator("description")
    @classmethod
    def _printable(cls, description: str) -> str:
        if not description.isprintable():
            raise ValueError("no control characters")
        return description

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.amount is None) == (self.credits is None):
            raise ValueError("exactly one of amount and credits")
        return self


class CreditsConsumed(BaseModel):
    remaining_credits: float
    creditsRemaining: float  # noqa: N815
    creditsConsumed: float  # noqa: N815
    success: bool = True


class CreatePaymentIntent(BaseModel):
    """With `planId` or `credits` the amount is in minor units of the currency, else in whole ones."""

    amount: Number | None = Field(default=None, gt=0, le=MAX_AMOUNT, allow_inf_nan=False)
    currency: str | None = Field(default=None, max_length=10)
    planId: str | None = Field(default=None, max_length=200)  # noqa: N815
    credits: Number | None = Field(default=None, le=MAX_CREDITS, allow_inf_nan=False)


class PaymentIntent(BaseModel):
    client_secret: str
    payment_intent_id: str
    clientSecret: str  # noqa: N815
    id: str
    amount: int
    currency: str
    status: str


class ProcessPaymentSuccess(BaseModel):
    payment_intent_id: str | None = None
    paymentIntentId: str | None = None  # noqa: N815
    user_id: str | None = None


class PaymentProcessed(BaseModel):
    success: bool
    credits_added: float
    creditsAdded: float  # noqa: N815
    totalCredits: float | None  # noqa: N815


class ProcessImagePipeline(BaseModel):
    """With `modelId` or `sourceImageUrl` it is submitted; `action` (`status`, `result`) asks by an address of ours."""

    prompt: str | None = None
    model: str | None = None
    modelId: str | None = None  # noqa: N815
    sourceImageUrl: str | None = Field(default=None, max_length=4096)  # noqa: N815
    settings: Document = {}
    user_id: str | None = None
    action: str | None = None
    statusUrl: str | None = Field(default=None, max_length=4096)  # noqa: N815
    responseUrl: str | None = Field(default=None, max_length=4096)  # noqa: N815


class GeneratePokemonImages(BaseModel):
    prompt: str | None = None
    pokemonType: str | None = None  # noqa: N815
    customPrompt: str | None = None  # noqa: N815
    modelId: str | None = None  # noqa: N815
    count: StrictInt = Field(default=1, ge=1, le=4)


class PokemonImages(BaseModel):
    images: list[str]
    imageUrls: list[str]  # noqa: N815
    imageUrl: str  # noqa: N815
    success: bool = True


class ProcessElevenLabsVideo(BaseModel):
    """The seed's two addresses make a video; the client's `videoUrl` gives that video's sound."""

    audio_url: str | None = Field(default=None, max_length=4096)
    image_url: str | None = Field(default=None, max_length=4096)
    videoUrl: str | None = Field(default=None, max_length=4096)  # noqa: N815
    seconds: StrictInt | None = Field(default=None, ge=1, le=3600)


class MadeVideo(BaseModel):
    video_url: str
    videoUrl: str  # noqa: N815
    success: bool = True


class TakenSound(BaseModel):
    audio_url: str
    audioUrl: str  # noqa: N815
    success: bool = True


class ChatWithGpt(BaseModel):
    """`messages`, or one `message` with what it is about in `context`."""

    messages: list[Document] | None = Field(default=None, max_length=MAX_MESSAGES)
    message: str | None = None
    context: Any = None
    model: str | None = None


class GptAnswer(BaseModel):
    response: str
    reply: str
    usage: TokenUsage

"""The bodies of the social frontend, in its own names. Fields that it does not know are ignored."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway.dialects.social.styles import Style
from gateway.dialects.social.writing import Task, Tone
from gateway.dialects.unsaid import Form
from gateway.orders import MAX_COUNT

MAX_POST_CHARACTERS = 500
MAX_TEXT_CHARACTERS = 4000
MAX_PAGE_LIMIT = 50
DEFAULT_PAGE_LIMIT = 12
"""What the frontend asks for where it says nothing else."""
MAX_PAGE = 1_000_000

Service = Literal["openai", "midjourney", "stable-diffusion"]
Number = int | float


def _named(value: Any) -> Any:
    """Nobody, where a page's script wrote into its request that it knows no user."""
    return None if value in ("", "undefined", "null") else value


Named = Annotated[str | None, BeforeValidator(_named)]


class GenerateImage(Form):
    """`prompt` is the post; `userId`, where it is given, has to be the token's user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prompt": "We open our new bakery on Saturday", "style": "realistic", "count": 4}]
        }
    )

    prompt: str = Field(min_length=1, max_length=MAX_POST_CHARACTERS)
    style: Style
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = None
    userId: Named = None  # noqa: N815


class GenerateText(Form):
    """`prompt` is what to write about, or the text to rephrase."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prompt": "Our new bakery opens on Saturday", "tone": "professional", "type": "generate"}]
        }
    )

    prompt: str = Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)
    tone: Tone = Tone.PROFESSIONAL
    type: Task = Task.GENERATE
    userId: Named = None  # noqa: N815


class ImageMetadata(BaseModel):
    """`provider` is the true one, `aiService` the nearest of the three that the frontend knows. `cached`: it is what
    the user got for the same request before.

    `blurhash` and `variants` (name → address) are for showing a picture while it loads.
    """

    style: str
    prompt: str
    generatedAt: str  # noqa: N815
    aiService: Service  # noqa: N815
    provider: str
    model: str
    generationId: UUID  # noqa: N815
    cached: bool
    width: int | None
    height: int | None
    blurhash: str | None
    variants: dict[str, str]


class ImageView(BaseModel):
    id: UUID
    url: str
    thumbnail: str
    metadata: ImageMetadata


class GeneratedImages(BaseModel):
    """`cost` and `remainingCredits` are credits; the second is null while the ledger does not answer."""

    images: list[ImageView]
    cost: Number
    remainingCredits: Number | None  # noqa: N815


class GeneratedImagesAnswer(BaseModel):
    success: Literal[True] = True
    data: GeneratedImages


class Pagination(BaseModel):
    page: int
    limit: int
    total: int
    totalPages: int  # noqa: N815
    hasNext: bool  # noqa: N815
    hasPrev: bool  # noqa: N815


class History(BaseModel):
    images: list[ImageView]
    pagination: Pagination


class HistoryAnswer(BaseModel):
    success: Literal[True] = True
    data: History


class Download(BaseModel):
    """`url` is the same as `downloadUrl`; `expiresAt` is null where addresses do not end."""

    id: UUID
    downloadUrl: str  # noqa: N815
    url: str
    filename: str
    expiresAt: str | None  # noqa: N815


class DownloadAnswer(BaseModel):
    success: Literal[True] = True
    data: Download


class TextMetadata(BaseModel):
    tone: str
    type: str
    prompt: str
    generatedAt: str  # noqa: N815
    aiService: Service  # noqa: N815
    provider: str
    model: str
    generationId: UUID  # noqa: N815


class GeneratedText(BaseModel):
    text: str
    metadata: TextMetadata
    cost: Number
    remainingCredits: Number | None  # noqa: N815


class GeneratedTextAnswer(BaseModel):
    success: Literal[True] = True
    data: GeneratedText


class ErrorBody(BaseModel):
    """`retryAfter` is in seconds; `validationErrors` has a line for each field that is wrong."""

    success: Literal[False] = False
    error: str
    code: str
    message: str
    detail: str
    statusCode: int  # noqa: N815
    retryAfter: int | None  # noqa: N815
    validationErrors: list[str]  # noqa: N815

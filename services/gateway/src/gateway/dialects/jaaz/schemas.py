"""The bodies of /api/v1, in the seed's names. Fields that it does not know are ignored."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from gateway.dialects.jaaz.canvases import MAX_ELEMENTS

Elements = list[dict[str, Any]]
Document = dict[str, Any]
MAX_NAME_CHARACTERS = 200
MAX_SIDE_PIXELS = 8192
Number = StrictFloat | StrictInt
"""`true` is no number, neither of credits nor of anything else."""


class JaazError(BaseModel):
    """`code` is the HTTP status."""

    error: str
    message: str
    code: int
    details: Document = {}


class Done(BaseModel):
    success: bool = True


class GenerateImage(BaseModel):
    """`width` and `height` both or neither; without them the model's own size."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "A fox in the snow", "model": ""}]})

    prompt: str
    model: str | None = None
    width: StrictInt | None = Field(default=None, ge=1, le=MAX_SIDE_PIXELS)
    height: StrictInt | None = Field(default=None, ge=1, le=MAX_SIDE_PIXELS)
    steps: StrictInt | None = Field(default=None, ge=1, le=1000)
    guidance: Number | None = Field(default=None, ge=0, le=1000, allow_inf_nan=False)
    user_id: str | None = None


class GeneratedImage(BaseModel):
    image_url: str
    seed: int
    parameters: Document
    generation_id: str


class GenerateText(BaseModel):
    prompt: str
    model: str | None = None
    max_tokens: StrictInt | None = Field(default=None, ge=1, le=1_000_000)
    temperature: Number | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    user_id: str | None = None


class TokenUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class GeneratedText(BaseModel):
    text: str
    usage: TokenUsage


class ModelNames(BaseModel):
    text_models: list[str]
    image_models: list[str]
    available_providers: list[str]


class ChatMessage(BaseModel):
    """`stream` with `Accept: text/event-stream` answers by server-sent events, else at the end."""

    message: str
    session_id: str | None = None
    model: str | None = None
    stream: bool = False
    canvas_id: str | None = None
    user_id: str | None = None


class ChatAnswer(BaseModel):
    response: str
    message_id: str
    session_id: str
    usage: TokenUsage | None = None


class SessionView(BaseModel):
    id: str
    title: str
    created_at: datetime
    updated_at: datetime


class SessionList(BaseModel):
    sessions: list[SessionView]


class CanvasSummary(BaseModel):
    id: str
    title: str
    thumbnail: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class CanvasList(BaseModel):
    canvases: list[CanvasSummary]


class NewCanvas(BaseModel):
    id: str | None = None
    title: str = Field(default="Untitled", max_length=MAX_NAME_CHARACTERS)
    elements: Elements = Field(default=[], max_length=MAX_ELEMENTS)
    app_state: Document = {}
    files: Document = {}
    thumbnail: str | None = None


class CanvasMade(BaseModel):
    canvas_id: str
    version: int
    success: bool = True


class CanvasView(BaseModel):
    id: str
    title: str
    elements: Elements
    app_state: Document
    files: Document
    thumbnail: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class CanvasChange(BaseModel):
    """With `version` it says the whole, refused where that is not the newest; without, it is merged in."""

    title: str | None = Field(default=None, max_length=MAX_NAME_CHARACTERS)
    elements: Elements | None = Field(default=None, max_length=MAX_ELEMENTS)
    app_state: Document | None = None
    files: Document | None = None
    thumbnail: str | None = None
    version: StrictInt | None = Field(default=None, ge=1)


class CanvasChanged(BaseModel):
    version: int
    success: bool = True


class ProviderConfig(BaseModel):
    """`api_key`: a mask or an empty string leaves the stored key as it is, null forgets it."""

    models: Document | None = None
    url: str | None = Field(default=None, max_length=2000)
    api_key: str | None = Field(default="", max_length=500)
    max_tokens: StrictInt | None = Field(default=None, ge=1, le=10_000_000)


class Configs(BaseModel):
    providers: dict[str, ProviderConfig]


class ConfigsView(BaseModel):
    providers: dict[str, Document]


class SettingsView(BaseModel):
    theme: str
    language: str
    ai_providers: Document
    canvas_settings: Document


class SettingsChange(BaseModel):
    theme: str | None = Field(default=None, max_length=50)
    language: str | None = Field(default=None, max_length=35)
    ai_providers: dict[str, ProviderConfig] | None = None
    canvas_settings: Document | None = None


class BalanceView(BaseModel):
    """`balance` is what the available credits are worth, in `currency`."""

    balance: float
    currency: str
    last_updated: datetime


class UsageView(BaseModel):
    date: datetime
    amount: float
    description: str
    model: str


class UsageList(BaseModel):
    usage: list[UsageView]
    total: int


class Uploaded(BaseModel):
    id: str
    url: str
    filename: str
    size: int
    mime_type: str


class FileView(BaseModel):
    id: str
    filename: str
    url: str
    size: int
    created_at: datetime


class FileList(BaseModel):
    files: list[FileView]


class DeviceCode(BaseModel):
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class DeviceToken(BaseModel):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the word of RFC 6750
    expires_in: int


class UserView(BaseModel):
    id: str
    email: str
    name: str
    avatar_url: str | None = None

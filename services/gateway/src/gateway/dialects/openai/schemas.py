"""The bodies of OpenAI's API, in its own names. Fields that are not known here are ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_USER_CHARACTERS = 256
Word = Annotated[str, Field(max_length=50)]
Amount = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
ImageFormat = Literal["png", "jpeg", "webp"]
SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]


class ErrorObject(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    error: ErrorObject


class ImageFields(BaseModel):
    """What pictures are asked with, whether they start from others or not. `auto`, and what is left out, is the
    model's own choice."""

    prompt: str
    model: str | None = None
    n: int | None = Field(default=None, ge=1, le=10)
    size: Word | None = None
    quality: Word | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: ImageFormat | None = None
    output_compression: int | None = Field(default=None, ge=0, le=100)
    background: Literal["auto", "transparent", "opaque"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(default=None, ge=0, le=3)
    user: str | None = Field(default=None, max_length=MAX_USER_CHARACTERS)


class GenerateImages(ImageFields):
    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "A lighthouse", "size": "1024x1024"}]})

    moderation: Literal["auto", "low"] | None = None
    style: Literal["vivid", "natural"] | None = None


class EditImages(ImageFields):
    """The fields of the form beside its pictures."""

    input_fidelity: Literal["high", "low"] | None = None


class PictureReference(BaseModel):
    image_url: str


class EditReferences(EditImages):
    """The same with the addresses of its pictures, which may be `data:` addresses."""

    images: list[PictureReference] = Field(min_length=1, max_length=16)
    mask: PictureReference | None = None


class Picture(BaseModel):
    url: str
    b64_json: str | None = None


class Pictures(BaseModel):
    created: int
    data: list[Picture]
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None


class Part(BaseModel):
    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class CreateChat(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"messages": [{"role": "user", "content": "What is a darkroom?"}]}]}
    )

    messages: list[ChatMessage] = Field(min_length=1)
    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    presence_penalty: Amount | None = None
    frequency_penalty: Amount | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    reasoning_effort: Word | None = None
    n: int | None = Field(default=None, ge=1, le=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(default=None, max_length=MAX_USER_CHARACTERS)
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    web_search_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None


class ChatUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Written(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int = 0
    message: Written
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class Chat(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage | None = None


class Model(BaseModel):
    """`created` is 0: when a provider made its model is not known here. `kind` is ours."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
    kind: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Voice(BaseModel):
    id: str


class Speak(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "The light is red.", "voice": "alloy"}]})

    input: str
    model: str | None = None
    voice: str | Voice | None = None
    instructions: str | None = Field(default=None, max_length=4096)
    response_format: SpeechFormat | None = None
    speed: float | None = Field(default=None, ge=0.25, le=4, allow_inf_nan=False)
    stream_format: Literal["audio", "sse"] | None = None


class VideoFields(BaseModel):
    """Of a form or of JSON; `input_reference` is a file in a form, an address in JSON."""

    prompt: str
    model: str | None = None
    seconds: int | None = Field(default=None, ge=1)
    size: Word | None = None
    user: str | None = Field(default=None, max_length=MAX_USER_CHARACTERS)


class Reference(BaseModel):
    image_url: str


class CreateVideo(VideoFields):
    input_reference: Reference | None = None


class VideoError(BaseModel):
    code: str
    message: str


class Video(BaseModel):
    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int
    created_at: int
    completed_at: int | None = None
    expires_at: int | None = None
    error: VideoError | None = None
    prompt: str
    remixed_from_video_id: None = None
    seconds: str
    size: str


class Videos(BaseModel):
    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool


class DeletedVideo(BaseModel):
    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class ModerationPart(BaseModel):
    type: str
    text: str | None = None


class Moderate(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "A lighthouse in a storm"}]})

    input: str | list[str] | list[ModerationPart]
    model: str | None = None


class Verdict(BaseModel):
    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class Moderated(BaseModel):
    id: str
    model: str
    results: list[Verdict]

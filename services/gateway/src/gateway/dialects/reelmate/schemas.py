"""The bodies of /api/ai-studio: what is asked for in camel case, what is shown as rows of the seed's tables."""

from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, JsonValue

from gateway.dialects.reelmate.counts import Event
from gateway.dialects.reelmate.fields import Label, Name, Script, Words
from gateway.dialects.reelmate.films import State
from gateway.dialects.unsaid import Form

MAX_SCRIPTS = 50
MAX_SECONDS = 300
EXAMPLE: dict[str, JsonValue] = {
    "script": "Hello! This is what we made for you.",
    "avatarId": "550e8400-e29b-41d4-a716-446655440001",
    "voiceId": "550e8400-e29b-41d4-a716-446655440005",
    "generationSettings": {"duration": 30, "quality": "high", "style": "professional"},
}
Data = TypeVar("Data")
Ratio = Literal["9:16", "16:9", "1:1"]


class Wrapped(BaseModel, Generic[Data]):
    """Every answer of the studio."""

    success: Literal[True] = True
    data: Data
    message: str


class GenerationSettings(Form):
    """A film is as long as its script takes to be said; `duration` and `style` are kept and shown."""

    duration: Annotated[int, Field(ge=0, le=86_400)] | Label | None = None
    quality: Label | None = None
    style: Label | None = None
    aspectRatio: Ratio = "9:16"  # noqa: N815
    captions: bool | None = None


class _Film(Form):
    avatarId: UUID  # noqa: N815
    voiceId: UUID  # noqa: N815
    generationSettings: GenerationSettings = Field(default_factory=GenerationSettings)  # noqa: N815
    campaignId: UUID | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815


class GenerateVideo(_Film):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    script: Script


class GenerateBatch(_Film):
    """A film for each script, all of them or none, on the lane that never delays a person."""

    scripts: list[Script] = Field(min_length=1, max_length=MAX_SCRIPTS)


class NewTemplate(Form):
    """`{{names}}` in double braces are its variables; `{{custom_text}}` takes the user's own words."""

    name: Name
    template: Script = Field(validation_alias=AliasChoices("template", "template_text", "templateText", "content"))
    description: Words | None = None
    category: Annotated[Label, Field(min_length=1)] = "general"
    isPublic: bool = Field(default=False, validation_alias=AliasChoices("isPublic", "is_public"))  # noqa: N815


def _few(value: dict[str, str]) -> dict[str, str]:
    if len(value) > 20:
        raise ValueError("at most 20 variables")
    return value


class FromTemplate(Form):
    templateId: UUID  # noqa: N815
    customText: Words = ""  # noqa: N815
    variables: Annotated[dict[Label, Words], AfterValidator(_few)] = {}


class EstimateCost(Form):
    jobType: Label = "avatar_video"  # noqa: N815
    duration: int = Field(default=30, ge=1, le=MAX_SECONDS)
    quality: Label | None = None


class Happened(BaseModel):
    event: Event


class JobView(BaseModel):
    """A row of `video_generation_jobs`."""

    id: UUID
    user_id: UUID
    campaign_id: UUID | None
    batch_id: UUID | None = None
    job_type: str
    status: State
    script: str
    avatar_id: UUID | None
    voice_id: UUID | None
    generation_settings: dict[str, Any]
    progress: int
    estimated_cost: float
    actual_cost: float | None
    video_url: str | None
    error_message: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class JobBatchView(BaseModel):
    batchId: UUID  # noqa: N815
    total: int
    jobs: list[JobView]


class OutputView(BaseModel):
    videoUrl: str  # noqa: N815
    thumbnailUrl: str | None  # noqa: N815
    duration: float | None
    cost: float


class StatusView(BaseModel):
    """`progress` is an estimate, by how long such films usually take; `estimatedTimeRemaining` is in seconds."""

    id: UUID
    status: State
    progress: int
    estimatedTimeRemaining: int | None  # noqa: N815
    output: OutputView | None
    error: str | None


class VideoView(BaseModel):
    """A row of `generated_videos`. A job makes one film, which has its id."""

    id: UUID
    job_id: UUID
    user_id: UUID
    campaign_id: UUID | None
    script: str
    avatar_id: UUID | None
    voice_id: UUID | None
    video_url: str
    thumbnail_url: str | None
    duration: float | None
    file_size: int
    resolution: str
    format: str
    cost: float
    status: Literal["completed"] = "completed"
    created_at: datetime


class AvatarView(BaseModel):
    id: UUID
    user_id: UUID | None
    name: str
    description: str | None
    gender: str | None
    style: str | None
    image_url: str
    thumbnail_url: str
    preview_url: str
    is_active: bool = True
    is_custom: bool
    created_at: datetime


class VoiceView(BaseModel):
    id: UUID
    name: str
    description: str | None
    gender: str | None
    language: str
    provider_voice_id: str
    preview_url: str | None
    """Of ours; a sample that somebody brought is shown to nobody."""
    sample_url: str | None
    is_custom: bool
    is_active: bool = True
    created_at: datetime


class TemplateView(BaseModel):
    id: UUID
    user_id: UUID | None
    name: str
    description: str | None
    category: str
    template: str
    variables: list[str]
    is_public: bool
    usage_count: int
    created_at: datetime
    updated_at: datetime


class ScriptView(BaseModel):
    """`missing` are variables for which nothing was given."""

    script: str
    templateId: UUID  # noqa: N815
    missing: list[str]
    usageCount: int  # noqa: N815


class CostView(BaseModel):
    """In credits, and in US dollars as credits are sold."""

    jobType: str  # noqa: N815
    duration: int
    quality: str
    estimatedCost: float  # noqa: N815
    credits: float
    priceUsd: float  # noqa: N815


class LinkView(BaseModel):
    url: str
    downloadUrl: str | None = None  # noqa: N815
    shareUrl: str | None = None  # noqa: N815


class Day(BaseModel):
    day: date
    views: int
    plays: int
    completions: int
    downloads: int
    shares: int


class Overview(BaseModel):
    """`avgCtr`: of a hundred views, in how many the film was begun. `completionRate`: of the begun, seen to the end."""

    totalViews: int  # noqa: N815
    avgCtr: float  # noqa: N815
    totalPlays: int  # noqa: N815
    totalCompletions: int  # noqa: N815
    totalDownloads: int  # noqa: N815
    totalShares: int  # noqa: N815
    completionRate: float  # noqa: N815
    totalVideos: int  # noqa: N815
    totalCampaigns: int  # noqa: N815
    activeCampaigns: int  # noqa: N815


class OverviewAnswer(BaseModel):
    overview: Overview
    days: list[Day]


class ErrorBody(BaseModel):
    success: Literal[False]
    error: str
    message: str
    detail: str
    code: str
    statusCode: int  # noqa: N815

"""The bodies of the instaveo frontend, in its own names. Fields that it does not know are ignored."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.dialects.instaveo.creators import USERNAME
from gateway.dialects.unsaid import OR_DEFAULT

_ADDRESS = r"^https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+$"
Address = Annotated[str, StringConstraints(max_length=2000, pattern=_ADDRESS)]
State = Literal["pending", "processing", "completed", "failed"]


def _fit(name: str) -> str:
    if USERNAME.fullmatch(name) is None:
        raise PydanticCustomError(
            "username",
            "a name has 3 to 30 letters, digits, dots, dashes and underscores, and begins with a letter or a digit",
        )
    return name


Username = Annotated[str, AfterValidator(_fit), WithJsonSchema({"type": "string", "pattern": f"^{USERNAME.pattern}$"})]


class CreateVideo(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "A lighthouse in a storm, from the air"}]})

    prompt: str


class SyncStatus(BaseModel):
    """Which task of the provider the client believes it to be; both or none have to be given."""

    operationName: Annotated[str, StringConstraints(max_length=150)] | None = None  # noqa: N815
    sceneId: Annotated[str, StringConstraints(max_length=150)] | None = None  # noqa: N815


class ChangeProfile(BaseModel):
    """`Partial<UserProfile>`: what else it has is not the user's to change."""

    username: Username | None = None
    avatarUrl: Annotated[Address | None, OR_DEFAULT] = None  # noqa: N815


class VideoAsset(BaseModel):
    id: UUID
    assetType: Literal["video", "thumbnail"]  # noqa: N815
    storageBackend: str  # noqa: N815
    storageKey: str  # noqa: N815
    filePath: str  # noqa: N815
    publicUrl: str  # noqa: N815
    sourceUrl: str | None = None  # noqa: N815
    durationSeconds: int | None = None  # noqa: N815
    createdAt: str  # noqa: N815
    updatedAt: str  # noqa: N815


class VideoView(BaseModel):
    """`videoUrl` is empty until it is completed. The score is there twice, as two builds of the frontend read it."""

    id: UUID
    prompt: str
    videoUrl: str  # noqa: N815
    thumbnailUrl: str | None = None  # noqa: N815
    userId: UUID  # noqa: N815
    username: str | None = None
    likes: int
    dislikes: int
    views: int
    createdAt: str  # noqa: N815
    updatedAt: str  # noqa: N815
    status: State
    failureReason: str | None = None  # noqa: N815
    ranking_score: float
    rankingScore: float  # noqa: N815
    isPublished: bool  # noqa: N815
    durationSeconds: int | None = None  # noqa: N815
    sourceVideoId: UUID | None = None  # noqa: N815
    assets: list[VideoAsset]


class FeedView(BaseModel):
    videos: list[VideoView]
    nextCursor: str | None = None  # noqa: N815
    hasMore: bool  # noqa: N815


class UserProfile(BaseModel):
    """`email` is empty except to its owner; `rank` is there on the leaderboard."""

    id: UUID
    username: str
    email: str
    avatarUrl: str | None = None  # noqa: N815
    videosCreated: int  # noqa: N815
    totalLikes: int  # noqa: N815
    totalDislikes: int  # noqa: N815
    creatorScore: float  # noqa: N815
    lastActiveAt: str  # noqa: N815
    createdAt: str  # noqa: N815
    enterprise: bool
    rank: int | None = None


class Done(BaseModel):
    success: Literal[True] = True


class Link(BaseModel):
    """`expiresAt` is missing where the operator has not set a key for signed addresses: then it does not end."""

    url: str
    expiresAt: str | None = Field(default=None)  # noqa: N815


class ErrorBody(BaseModel):
    message: str
    statusCode: int  # noqa: N815
    error: str
    detail: str

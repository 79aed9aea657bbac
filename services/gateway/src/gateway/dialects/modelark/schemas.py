"""The bodies of the modelark frontend, in its own names. Fields that it does not know are ignored."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class GenerateImage(BaseModel):
    """`userId` has to be the token's user; `size` is `<width>x<height>`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "A beautiful sunset over mountains",
                    "model": "seedream-3-0-t2i-250415",
                    "size": "1024x1024",
                    "userId": "8c4c1a52-6d42-4f60-a7c6-0a4c8a8f2f52",
                }
            ]
        }
    )

    prompt: str
    model: str | None = None
    size: str | None = None
    userId: str | None = Field(default=None)  # noqa: N815
    watermark: bool = False


class VideoFields(BaseModel):
    """The fields of the form, all of them text as forms have it."""

    prompt: str
    model: str | None = None
    duration: str = "5"
    aspectRatio: str = "16:9"  # noqa: N815
    userId: str | None = None  # noqa: N815


class TestImage(BaseModel):
    prompt: str = "A simple test image"
    userId: str | None = Field(default=None)  # noqa: N815


class TestVideo(BaseModel):
    prompt: str = "A simple test video"
    userId: str | None = Field(default=None)  # noqa: N815


class ImageView(BaseModel):
    """`url` is the provider's own address, which expires; `bucketUrl` is ours, which stays."""

    id: UUID
    url: str
    bucketUrl: str  # noqa: N815
    size: str


class GeneratedImages(BaseModel):
    promptId: UUID  # noqa: N815
    images: list[ImageView]


class ModelNames(BaseModel):
    models: list[str]


class TestResult(BaseModel):
    success: bool
    data: dict[str, object] | None = None
    error: str | None = None


class GeneratedVideo(BaseModel):
    """`video_url` is ours, which stays; `task_id` is the generation's id."""

    video_url: str
    duration: int
    aspectRatio: str  # noqa: N815
    task_id: UUID


class StoredFile(BaseModel):
    url: str


class ErrorBody(BaseModel):
    error: str

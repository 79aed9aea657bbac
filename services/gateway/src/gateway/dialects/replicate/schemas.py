"""The bodies of Replicate's API. Times are RFC 3339 in UTC; fields that it does not know are ignored."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Told = Literal["start", "output", "logs", "completed"]
Status = Literal["starting", "processing", "succeeded", "failed", "canceled"]


class NewModelPrediction(BaseModel):
    """What to make with the model in the path."""

    model_config = ConfigDict(
        allow_inf_nan=False, json_schema_extra={"examples": [{"input": {"prompt": "A lighthouse in a storm"}}]}
    )

    input: dict[str, JsonValue]
    stream: bool | None = Field(default=None, description="Every text can be read at `urls.stream`, asked for or not.")
    webhook: str | None = Field(default=None, description="An https address of yours, on port 443, that is told.")
    webhook_events_filter: list[Told] | None = Field(
        default=None, description="Of what; without it of `output` and `completed`. There are no `logs`."
    )
    webhook_completed: None = Field(default=None, description="Not offered here: say `webhook` with a filter.")


class NewPrediction(NewModelPrediction):
    """What to make with the model that `version` or `model` names: `owner/name`, `owner/name:version`, or a version."""

    version: str | None = Field(default=None, max_length=300)
    model: str | None = Field(default=None, max_length=300)


class Urls(BaseModel):
    get: str
    cancel: str
    stream: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of texts alone: where it is read while it is written."""


class Prediction(BaseModel):
    """A generation as it is now. `output` is a list of addresses for pictures, an address for a video or a sound, and
    the text itself for a text."""

    id: str
    model: str
    version: str
    input: dict[str, Any]
    output: list[str] | str | None
    logs: str
    error: str | None
    status: Status
    source: Literal["api"] = "api"
    data_removed: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    metrics: dict[str, float]
    urls: Urls


class PredictionPage(BaseModel):
    """Newest first; `next` is the address of the next page."""

    previous: None = None
    next: str | None
    results: list[Prediction]


class Version(BaseModel):
    """A model has one version, which is called like it."""

    id: str
    created_at: datetime
    cog_version: str
    openapi_schema: dict[str, Any]


class Model(BaseModel):
    url: str
    owner: str
    name: str
    description: str
    visibility: Literal["public"] = "public"
    github_url: None = None
    paper_url: None = None
    license_url: None = None
    run_count: int = 0
    cover_image_url: None = None
    default_example: None = None
    latest_version: Version


class ModelPage(BaseModel):
    previous: None = None
    next: None = None
    results: list[Model]


class VersionPage(BaseModel):
    previous: None = None
    next: None = None
    results: list[Version]


class PredictionProblem(BaseModel):
    title: str
    detail: str
    status: int


class WebhookSecret(BaseModel):
    """What verifies the webhooks of your predictions."""

    key: str


class FileUrls(BaseModel):
    get: str


class PredictionFile(BaseModel):
    """An upload of yours: `urls.get` is what an input starts from."""

    id: str
    name: str
    content_type: str
    size: int
    etag: str
    checksums: dict[str, str]
    metadata: dict[str, Any]
    created_at: datetime
    expires_at: None = None
    urls: FileUrls

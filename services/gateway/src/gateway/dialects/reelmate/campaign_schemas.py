"""The bodies of /api/campaigns: written as the form has them, shown by the table's names and by the form's."""

import json
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from gateway.dialects.reelmate.fields import Label, Labels, Moment, Money, Name, Whatever, Words
from gateway.dialects.unsaid import Form
from runtime.database import Row

MAX_BULK = 100
Type = Literal["ugc-video", "ai-generated", "user-submitted", "branded-content"]
Status = Literal["draft", "active", "paused", "completed", "archived"]
Action = Literal["activate", "pause", "complete", "archive", "delete"]
_COLUMN_OF = {
    "videoFormat": "video_format",
    "targetAudience": "target_audience",
    "callToAction": "call_to_action",
    "startDate": "start_date",
    "endDate": "end_date",
}


class _Parts(BaseModel):
    description: Words | None = None
    platforms: Labels = []
    videoFormat: Label | None = None  # noqa: N815
    targetAudience: Whatever = None  # noqa: N815
    budget: Money = None
    hashtags: Whatever = None
    callToAction: Words | None = None  # noqa: N815
    startDate: Moment = None  # noqa: N815
    endDate: Moment = None  # noqa: N815

    def columns(self) -> dict[str, Any]:
        """What was said, by the table's names."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return {_COLUMN_OF.get(name, name): value for name, value in said.items()}


class NewCampaign(Form, _Parts):
    """It begins as a draft."""

    name: Name
    type: Type


class CampaignChange(_Parts):
    """What is left out stays as it is."""

    name: Name = ""
    type: Type = "ugc-video"
    status: Status = "draft"


class BulkAction(BaseModel):
    action: Action
    campaignIds: list[UUID] = Field(min_length=1, max_length=MAX_BULK)  # noqa: N815


class CampaignView(BaseModel):
    id: UUID
    user_id: UUID
    name: str
    description: str | None
    type: str
    status: str
    platforms: list[str]
    video_format: str | None
    videoFormat: str | None  # noqa: N815
    target_audience: Any
    targetAudience: Any  # noqa: N815
    budget: float | None
    hashtags: Any
    call_to_action: str | None
    callToAction: str | None  # noqa: N815
    start_date: datetime | None
    startDate: datetime | None  # noqa: N815
    end_date: datetime | None
    endDate: datetime | None  # noqa: N815
    created_at: datetime
    createdAt: datetime  # noqa: N815
    updated_at: datetime
    updatedAt: datetime  # noqa: N815


class Pagination(BaseModel):
    total: int
    page: int
    limit: int
    totalPages: int  # noqa: N815
    hasNext: bool  # noqa: N815
    hasPrev: bool  # noqa: N815


class CampaignList(BaseModel):
    campaigns: list[CampaignView]
    pagination: Pagination


class OneCampaign(BaseModel):
    campaign: CampaignView


class CampaignAnswer(BaseModel):
    message: str
    campaign: CampaignView


class BulkAnswer(BaseModel):
    """`notFound` are those that are no campaigns of the caller's."""

    message: str
    updated: int
    campaignIds: list[UUID]  # noqa: N815
    notFound: list[UUID]  # noqa: N815


class Said(BaseModel):
    message: str


class Play(BaseModel):
    """One page of the playbook: for which type of campaign, and what to do."""

    id: str
    title: str
    type: Type
    platforms: list[str]
    steps: list[str]
    templateCategory: str  # noqa: N815


class Playbook(BaseModel):
    playbook: list[Play]


def view(row: Row) -> CampaignView:
    shown = dict(row)
    for name in ("target_audience", "hashtags"):
        shown[name] = json.loads(shown[name]) if shown[name] is not None else None
    twice = _COLUMN_OF | {"createdAt": "created_at", "updatedAt": "updated_at"}
    return CampaignView.model_validate(shown | {name: shown[column] for name, column in twice.items()})


def pagination(total: int, page: int, limit: int) -> Pagination:
    pages = -(-total // limit)
    return Pagination(
        total=total, page=page, limit=limit, totalPages=pages, hasNext=page < pages, hasPrev=1 < page <= pages + 1
    )

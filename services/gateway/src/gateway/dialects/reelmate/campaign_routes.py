"""The routes of /api/campaigns. Their answers are not wrapped."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request

from gateway.dialects.callers import caller
from gateway.dialects.reelmate import errors
from gateway.dialects.reelmate.campaign_schemas import (
    BulkAction,
    BulkAnswer,
    CampaignAnswer,
    CampaignChange,
    CampaignList,
    NewCampaign,
    OneCampaign,
    Playbook,
    Said,
    Status,
    Type,
    pagination,
    view,
)
from gateway.dialects.reelmate.campaigns import Campaigns
from gateway.dialects.reelmate.fields import Filter, Label, Sought, known
from gateway.dialects.reelmate.playbook import PLAYS
from gateway.dialects.surface import Surface, route_class
from gateway.dialects.unsaid import Form

MAX_PAGE = 100_000
_DAYS = {"7d": 7, "30d": 30, "90d": 90}


class Asked(Form):
    """Which campaigns."""

    status: Filter[Status] = None
    type: Filter[Type] = None
    platform: Filter[Label] = None
    search: Sought | None = None
    dateRange: Filter[Literal["7d", "30d", "90d"]] = None  # noqa: N815
    page: int = Query(default=1, ge=1, le=MAX_PAGE)
    limit: int = Query(default=20, ge=1, le=100)

    def filters(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "kind": self.type,
            "platform": self.platform,
            "words": (self.search or "").strip() or None,
            "days": _DAYS.get(self.dateRange or ""),
        }


def make_router(surface: Surface, campaigns: Campaigns, documented: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Campaigns and the playbook."""
    router = APIRouter(
        prefix="/api/campaigns", tags=["reelmate"], route_class=route_class(errors.render), responses=documented
    )

    @router.post("", summary="Plan a campaign", status_code=201)
    async def create(body: NewCampaign, request: Request) -> CampaignAnswer:
        """It begins as a draft."""
        made = await campaigns.create(await caller(surface.identity, request), body.columns())
        return CampaignAnswer(message="The campaign was created.", campaign=view(made))

    @router.get("", summary="Your campaigns")
    async def listing(request: Request, asked: Annotated[Asked, Query()]) -> CampaignList:
        who = await caller(surface.identity, request)
        rows, total = await campaigns.page(who, asked.page, asked.limit, **asked.filters())
        return CampaignList(campaigns=[*map(view, rows)], pagination=pagination(total, asked.page, asked.limit))

    @router.get("/playbook", summary="How campaigns are run")
    async def playbook(request: Request) -> Playbook:
        await caller(surface.identity, request)
        return Playbook(playbook=list(PLAYS))

    @router.post("/bulk-actions", summary="Change many campaigns at once")
    async def bulk(body: BulkAction, request: Request) -> BulkAnswer:
        """Done to those that are the caller's; the others are named."""
        done = await campaigns.act(await caller(surface.identity, request), body.action, body.campaignIds)
        return _bulk(body, done)

    @router.get("/{campaign_id}", summary="One campaign")
    async def show(campaign_id: str, request: Request) -> OneCampaign:
        found = await campaigns.get(await caller(surface.identity, request), known(campaign_id, "campaign"))
        return OneCampaign(campaign=view(found))

    @router.put("/{campaign_id}", summary="Change a campaign")
    async def change(campaign_id: str, body: CampaignChange, request: Request) -> CampaignAnswer:
        """What is left out stays as it is."""
        who = await caller(surface.identity, request)
        changed = await campaigns.change(who, known(campaign_id, "campaign"), body.columns())
        return CampaignAnswer(message="The campaign was changed.", campaign=view(changed))

    @router.delete("/{campaign_id}", summary="Delete a campaign")
    async def delete(campaign_id: str, request: Request) -> Said:
        """Its films stay."""
        await campaigns.delete(await caller(surface.identity, request), known(campaign_id, "campaign"))
        return Said(message="The campaign was deleted.")

    return router


def _bulk(body: BulkAction, done: list[UUID]) -> BulkAnswer:
    missing = [each for each in dict.fromkeys(body.campaignIds) if each not in set(done)]
    return BulkAnswer(
        message=f"{len(done)} campaigns: {body.action}.", updated=len(done), campaignIds=done, notFound=missing
    )

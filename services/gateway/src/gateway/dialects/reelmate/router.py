"""The routes of /api/ai-studio about films: made, followed, cancelled, tried again, found."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request

from gateway.dialects.callers import caller
from gateway.dialects.reelmate import errors, translate
from gateway.dialects.reelmate.avatars import Avatars
from gateway.dialects.reelmate.campaigns import Campaigns
from gateway.dialects.reelmate.fields import Filter, known
from gateway.dialects.reelmate.films import Films, State, only_completed
from gateway.dialects.reelmate.schemas import (
    GenerateBatch,
    GenerateVideo,
    JobBatchView,
    JobView,
    StatusView,
    VideoView,
    Wrapped,
)
from gateway.dialects.reelmate.studio import PREFIX
from gateway.dialects.reelmate.voices import Voices
from gateway.dialects.surface import Surface, route_class, traceparent_of
from gateway.dialects.unsaid import OR_DEFAULT
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import NotFound

Key = Annotated[str | None, Header(alias="Idempotency-Key")]
Limit = Annotated[int, Query(ge=1, le=100), OR_DEFAULT]
Offset = Annotated[int, Query(ge=0, le=1_000_000), OR_DEFAULT]


def make_router(
    surface: Surface,
    films: Films,
    avatars: Avatars,
    voices: Voices,
    campaigns: Campaigns,
    documented: dict[int | str, dict[str, Any]],
) -> APIRouter:
    """Films and the jobs that they come from."""
    router = APIRouter(prefix=PREFIX, tags=["reelmate"], route_class=route_class(errors.render), responses=documented)

    @router.post("/generate-video", summary="Make a film", status_code=201)
    async def generate(body: GenerateVideo, request: Request, idempotency_key: Key = None) -> Wrapped[JobView]:
        """Its job is answered at once; follow it with `generation-status`."""
        who = await caller(surface.identity, request, body.userId)
        made = await _made(surface, avatars, voices, campaigns, who, body, request)
        return Wrapped(data=translate.job(surface, made), message="The video is being made.")

    @router.post("/generate-batch", summary="Make a film of each script", status_code=201)
    async def generate_batch(
        body: GenerateBatch, request: Request, idempotency_key: Key = None
    ) -> Wrapped[JobBatchView]:
        """All of them, or none."""
        who = await caller(surface.identity, request, body.userId)
        orders, avatar = await _orders(avatars, voices, campaigns, who, body, body.scripts, request)
        made = await avatars.lending(who, avatar, lambda: surface.commands.create_batch(who, orders))
        return Wrapped(data=translate.batch(surface, made), message=f"{len(orders)} videos are being made.")

    @router.get("/generation-status/{job_id}", summary="How far a film is")
    async def status(job_id: str, request: Request) -> Wrapped[StatusView]:
        found = await _found(films, await caller(surface.identity, request), job_id)
        return Wrapped(data=translate.status(surface, found), message=f"The video is {found.status}.")

    @router.get("/generation-jobs", summary="Your jobs")
    async def jobs(
        request: Request,
        limit: Limit = 20,
        offset: Offset = 0,
        status: Filter[State] = None,
        campaignId: Filter[UUID] = None,  # noqa: N803
    ) -> Wrapped[list[JobView]]:
        """The newest first."""
        who = await caller(surface.identity, request)
        found, total = await films.page(who, limit, offset, status, campaignId)
        return Wrapped(data=[translate.job(surface, each) for each in found], message=f"{total} jobs.")

    @router.post("/generation-jobs/{job_id}/cancel", summary="Cancel a film")
    async def cancel(job_id: str, request: Request) -> Wrapped[JobView]:
        """What has ended already stays as it is."""
        who = await caller(surface.identity, request)
        found = await _found(films, who, job_id)
        ended, is_cancelled = await surface.commands.cancel(who, found.id)
        said = "The video is cancelled." if is_cancelled else "The video had ended already."
        return Wrapped(data=translate.job(surface, ended), message=said)

    @router.post("/generation-jobs/{job_id}/retry", summary="Try a film again", status_code=201)
    async def retry(job_id: str, request: Request, idempotency_key: Key = None) -> Wrapped[JobView]:
        """What failed or was cancelled, as a new job at today's price."""
        who = await caller(surface.identity, request)
        found = await _found(films, who, job_id)
        made = await surface.commands.retry(who, found.id, idempotency_key, traceparent_of(request))
        return Wrapped(data=translate.job(surface, made), message="The video is being made again.")

    @router.get("/generated-videos", summary="Your films")
    async def videos(
        request: Request,
        limit: Limit = 20,
        offset: Offset = 0,
        status: Filter[State] = None,
        campaignId: Filter[UUID] = None,  # noqa: N803
    ) -> Wrapped[list[VideoView]]:
        """The newest first. A film is there once it is completed: in no other state there is any."""
        who = await caller(surface.identity, request)
        found, total = await films.page(who, limit, offset, "completed", campaignId)
        shown = only_completed(found) if status in {None, "completed"} else []
        return Wrapped(data=[translate.video(surface, *each) for each in shown], message=f"{total} videos.")

    return router


async def _made(
    surface: Surface,
    avatars: Avatars,
    voices: Voices,
    campaigns: Campaigns,
    who: Caller,
    body: GenerateVideo,
    request: Request,
) -> Generation:
    [order], avatar = await _orders(avatars, voices, campaigns, who, body, [body.script], request)
    return await avatars.lending(who, avatar, lambda: surface.commands.create(who, order))


async def _orders(
    avatars: Avatars,
    voices: Voices,
    campaigns: Campaigns,
    who: Caller,
    body: GenerateVideo | GenerateBatch,
    scripts: list[str],
    request: Request,
) -> tuple[list[Order], Any]:
    """What is asked for, and whose face. Raises NotFound for an avatar, a voice or a campaign that is not there."""
    avatar, voice = await avatars.get(who, body.avatarId), await voices.get(who, body.voiceId)
    if body.campaignId is not None:
        await campaigns.get(who, body.campaignId)
    return [translate.order(body, script, who, avatar, voice, request) for script in scripts], avatar


async def _found(films: Films, who: Caller, job_id: str) -> Generation:
    found = await films.get(who, known(job_id, "job"))
    if found is None:
        raise NotFound("There is no such job.")
    return found

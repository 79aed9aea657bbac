"""The videos of the instaveo frontend: the feed, creating and recreating, looking after, reacting."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from gateway.beginnings import together
from gateway.dialects.instaveo import errors, translate
from gateway.dialects.instaveo.acceptance import Acceptance
from gateway.dialects.instaveo.feed import MAX_PAGE
from gateway.dialects.instaveo.parts import Parts
from gateway.dialects.instaveo.schemas import CreateVideo, Done, ErrorBody, FeedView, Link, SyncStatus, VideoView
from gateway.dialects.instaveo.signing import signed_route
from gateway.dialects.instaveo.users import add_users
from gateway.dialects.instaveo.videos import Video
from gateway.dialects.instaveo.who import Who, anybody, member
from gateway.dialects.surface import Surface, route_class
from gateway.dialects.unsaid import OR_DEFAULT
from gateway.settings import InstaveoSettings

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 402, 404, 409, 413, 415, 422, 429, 503, 504)
}
PUBLIC: dict[str, Any] = {"security": [{}, {"bearer": []}]}
"""Who is signed in may see more."""


def make_router(surface: Surface, settings: InstaveoSettings) -> APIRouter:
    """Videos, users and links for the instaveo frontend."""
    parts = Parts(surface, settings)
    reading = APIRouter(tags=["instaveo"], route_class=route_class(errors.render), responses=ERRORS)
    signed = APIRouter(tags=["instaveo"], route_class=signed_route(parts.signatures), responses=ERRORS)
    add_reading(reading, parts)
    add_creating(signed, parts)
    add_reacting(signed, parts)
    add_users(reading, signed, parts)
    add_rendering(reading, parts)
    return together(reading, signed)


def add_reading(router: APIRouter, parts: Parts) -> None:
    """What changes nothing; and publishing, which real clients do not sign."""

    @router.get("/videos/feed", summary="The ranked feed", response_model=FeedView, openapi_extra=PUBLIC)
    async def feed(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE), OR_DEFAULT] = 20,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        await anybody(parts.surface.identity, request)
        return parts.answer(translate.feed_view(parts.surface, parts.settings, await parts.feed.page(limit, cursor)))

    @router.get("/videos/{video_id:uuid}", summary="Look at a video", response_model=VideoView, openapi_extra=PUBLIC)
    async def show(video_id: UUID, request: Request) -> Response:
        return parts.video(await parts.videos.get(video_id, await anybody(parts.surface.identity, request)))

    @router.get("/videos/{video_id:uuid}/download", summary="A link to keep the file", response_model=Link)
    async def download(video_id: UUID, request: Request) -> Response:
        """A short-lived link, under which the browser keeps the film as a file."""
        video = await parts.videos.get(video_id, (await member(parts.surface.identity, request)).user_id)
        return parts.answer(translate.link(parts.surface, video, translate.DOWNLOAD_SECONDS, download=True))

    @router.get("/videos/{video_id:uuid}/share", summary="A link to give away", response_model=Link)
    async def share(video_id: UUID, request: Request) -> Response:
        """A link to the film that lives for a day."""
        video = await parts.videos.get(video_id, (await member(parts.surface.identity, request)).user_id)
        return parts.answer(translate.link(parts.surface, video, translate.SHARE_SECONDS, download=False))

    @router.post("/videos/{video_id:uuid}/publish", summary="Make a video public", response_model=VideoView)
    async def publish(video_id: UUID, request: Request) -> Response:
        who = await parts.met(request)
        return parts.video(await parts.videos.publish(video_id, who.user_id))


def add_creating(router: APIRouter, parts: Parts) -> None:
    """What makes a video, and looks after it."""

    @router.post("/videos/create", status_code=201, summary="Make a video", response_model=VideoView)
    async def create(body: CreateVideo, request: Request) -> Response:
        """Answers at once; `sync-status` or a look at it says when it is completed."""
        return parts.video(await _created(parts, request, await parts.met(request), body.prompt), 201)

    @router.post("/videos/{video_id:uuid}/recreate", status_code=201, summary="Make it again", response_model=VideoView)
    async def recreate(video_id: UUID, request: Request) -> Response:
        """The same prompt, as a video of whoever asks."""
        who = await parts.met(request)
        source = await parts.videos.get(video_id, who.user_id)
        return parts.video(await _created(parts, request, who, source.prompt, source.id), 201)

    @router.post("/videos/{video_id:uuid}/sync-status", summary="The fresh state", response_model=VideoView)
    async def sync_status(video_id: UUID, request: Request, body: SyncStatus | None = None) -> Response:
        """Its owner's alone. What the log has already, and the record has not yet, is recorded first."""
        who = await member(parts.surface.identity, request)
        await parts.look_at(await parts.videos.own(video_id, who.user_id), body)
        return parts.video(await parts.videos.fresh(video_id, who.user_id))


def add_reacting(router: APIRouter, parts: Parts) -> None:
    """What everybody may do with a public video."""

    @router.post("/videos/{video_id:uuid}/like", summary="Like a video")
    async def like(video_id: UUID, request: Request) -> Done:
        who = await parts.paced(request)
        await parts.interactions.react(video_id, who.user_id, "like")
        return Done()

    @router.post("/videos/{video_id:uuid}/dislike", summary="Dislike a video")
    async def dislike(video_id: UUID, request: Request) -> Done:
        who = await parts.paced(request)
        await parts.interactions.react(video_id, who.user_id, "dislike")
        return Done()

    @router.post("/videos/{video_id:uuid}/view", summary="Count a view", openapi_extra=PUBLIC)
    async def view(video_id: UUID, request: Request) -> Done:
        """Needs no token. Counted once in an hour for each user, or each address and agent."""
        await parts.interactions.view(video_id, *await parts.viewing(request))
        return Done()


def add_rendering(router: APIRouter, parts: Parts) -> None:
    """What an operator's own renderer calls; no client does, so that no description names it."""

    @router.post("/videos/{video_id:uuid}/complete", include_in_schema=False)
    async def complete(video_id: UUID, request: Request) -> Done:
        await parts.renderer.finish(video_id, request.headers, await request.body())
        return Done()


async def _created(parts: Parts, request: Request, who: Who, prompt: str, source_video_id: UUID | None = None) -> Video:
    acceptance = Acceptance(parts.settings, who.user_id, request.state.signature, source_video_id)
    order = translate.order(prompt, request, acceptance)
    generation = await parts.surface.commands.create(parts.caller(who), order)
    return await parts.videos.own(generation.id, who.user_id)

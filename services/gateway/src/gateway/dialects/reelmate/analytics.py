"""The routes about who looked at the films: counts by day, downloads, and links for others."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from gateway.dialects.callers import caller
from gateway.dialects.reelmate import errors, translate
from gateway.dialects.reelmate.counts import Counts
from gateway.dialects.reelmate.fields import Filter, known
from gateway.dialects.reelmate.films import film_of
from gateway.dialects.reelmate.schemas import Day, Happened, LinkView, OverviewAnswer, Wrapped
from gateway.dialects.reelmate.studio import PREFIX
from gateway.dialects.surface import Surface, route_class
from gateway.rates import Limit
from gateway.records import Generation
from gateway.refusals import NotFound

DOWNLOAD_SECONDS = 300
SHARE_SECONDS = 3600
"""How long an address of a film lives, where such addresses end."""
BUCKET = "shared films at"
COUNTED_A_MINUTE = 120
"""What one address may have counted of others' films."""
_DAYS = {"7d": 7, "30d": 30, "90d": 90}
Range = Filter[Literal["7d", "30d", "90d"]]


def make_router(surface: Surface, counts: Counts, documented: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Counts and links."""
    router = APIRouter(tags=["reelmate"], route_class=route_class(errors.render), responses=documented)

    @router.get("/api/analytics/overview", summary="How your films do")
    async def overview(request: Request, dateRange: Range = None) -> OverviewAnswer:  # noqa: N803
        who, days = await caller(surface.identity, request), _DAYS.get(dateRange or "")
        counted, numbers = await counts.totals(who, days)
        return translate.overview(counted, numbers, await counts.by_day(who, days))

    @router.get(PREFIX + "/generated-videos/{video_id}/analytics", summary="How a film does, by day")
    async def by_day(video_id: str, request: Request, dateRange: Range = None) -> Wrapped[list[Day]]:  # noqa: N803
        who = await caller(surface.identity, request)
        rows = await counts.by_day(who, _DAYS.get(dateRange or ""), known(video_id, "video"))
        return Wrapped(data=translate.days_of(rows), message=f"{len(rows)} days.")

    @router.post(PREFIX + "/generated-videos/{video_id}/events", summary="Count what happened to a film")
    async def happened(video_id: str, body: Happened, request: Request) -> Wrapped[None]:
        who = await caller(surface.identity, request)
        _there(await counts.count(who, known(video_id, "video"), body.event))
        return Wrapped(data=None, message="Counted.")

    @router.post(PREFIX + "/generated-videos/{video_id}/download", summary="Download a film")
    async def download(video_id: str, request: Request) -> Wrapped[LinkView]:
        """A link, and a download counted."""
        who = await caller(surface.identity, request)
        found = _there(await counts.count(who, known(video_id, "video"), "download"))
        url = _address(surface, found, DOWNLOAD_SECONDS, download=True)
        return Wrapped(data=LinkView(url=url, downloadUrl=url), message="The link to download.")

    @router.post(PREFIX + "/generated-videos/{video_id}/share", summary="Share a film")
    async def share(video_id: str, request: Request) -> Wrapped[LinkView]:
        """A link for others, always the same one; who opens it is counted."""
        token = await counts.share(await caller(surface.identity, request), known(video_id, "video"))
        if token is None:
            raise NotFound("There is no such video.")
        url = f"{surface.addresses.public_url.rstrip('/')}{PREFIX}/shared/{token}"
        return Wrapped(data=LinkView(url=url, shareUrl=url), message="The link to share.")

    @router.get(PREFIX + "/shared/{token}", summary="See a shared film", status_code=302)
    async def shared(token: str, request: Request) -> RedirectResponse:
        """For whoever has the link: a view is counted, and the film is where it leads."""
        await _slow_down(surface, request)
        found = _there(await counts.shared(token, "view"))
        return RedirectResponse(_address(surface, found, SHARE_SECONDS), 302, {"Cache-Control": "no-store"})

    @router.post(PREFIX + "/shared/{token}/events", summary="Count that a shared film was begun, or seen to its end")
    async def seen(
        token: str, request: Request, event: Annotated[Literal["play", "complete"], Query()]
    ) -> Wrapped[None]:
        await _slow_down(surface, request)
        _there(await counts.shared(token, event))
        return Wrapped(data=None, message="Counted.")

    return router


async def _slow_down(surface: Surface, request: Request) -> None:
    """Raises TooManyRequests."""
    address = surface.identity.proxies.address(request)
    await surface.commands.rates.take(Limit(f"{BUCKET} {address}", COUNTED_A_MINUTE, what="films"))


def _there(found: Generation | None) -> Generation:
    if found is None:
        raise NotFound("There is no such video.")
    return found


def _address(surface: Surface, generation: Generation, seconds: int, *, download: bool = False) -> str:
    film = film_of(generation)
    if film is None:
        raise NotFound("There is no such video.")
    return surface.address(film.key, seconds, download=download, visibility=generation.visibility)

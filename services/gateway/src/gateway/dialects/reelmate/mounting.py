"""All of the dialect, put together."""

from typing import Any

from fastapi import APIRouter

from gateway.beginnings import together
from gateway.dialects.reelmate import analytics, campaign_routes, router, studio, voice_routes, voices
from gateway.dialects.reelmate.avatars import ROUTE, Avatars
from gateway.dialects.reelmate.campaigns import Campaigns
from gateway.dialects.reelmate.counts import Counts
from gateway.dialects.reelmate.films import Films
from gateway.dialects.reelmate.schemas import ErrorBody
from gateway.dialects.reelmate.templates import Templates
from gateway.dialects.surface import Surface

UPLOADS = (ROUTE, voices.ROUTE)
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 503, 504)
}


def make_router(surface: Surface) -> APIRouter:
    """Its routes."""
    database = surface.database
    campaigns, avatars = Campaigns(database), Avatars(database, surface.uploads)
    heard = voices.Voices(database, surface.broker, surface.uploads)
    return together(
        campaign_routes.make_router(surface, campaigns, _ERRORS),
        studio.make_router(surface, Templates(database), avatars, _ERRORS),
        voice_routes.make_router(surface, heard, _ERRORS),
        router.make_router(surface, Films(database), avatars, heard, campaigns, _ERRORS),
        analytics.make_router(surface, Counts(database), _ERRORS),
    )

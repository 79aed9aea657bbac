"""The route of everything that a user is told."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from gateway.dialects.native import errors, translate
from gateway.dialects.native.answers import problems
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.pages import Filter
from gateway.refusals import NotFound
from gateway.streaming import EventStream, write_at_once
from gateway.user_events import Show, Snapshot, follow_user

SHOWN = 20
"""How many a snapshot has, the newest: further ones are pages of `/v1/generations`."""

LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="The last event that you had: it goes on after it.")
]


def make_router(surface: Surface) -> APIRouter:
    """Server-sent events of a user."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render), tags=["Generations"])
    surface.commands.show = partial(translate.told, surface)

    @router.get(
        "/events",
        summary="Follow everything",
        response_class=StreamingResponse,
        responses={200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}, **problems()},
    )
    async def events(request: Request, last_event_id: LastEventId = None) -> Response:
        """`snapshot` (your newest generations), then `generation` for each that ends. `reset` says that what you
        missed cannot be told any more; a new snapshot follows."""
        caller = await surface.identity.required(request)
        write, told = write_at_once(request.scope), _told(surface, caller)
        events = follow_user(surface.hub, surface.broker, caller, last_event_id, *told, write)
        return EventStream(events, partial(surface.identity.still, request), surface.hub.place(caller.user_id))

    return router


def _told(surface: Surface, caller: Caller) -> tuple[Snapshot, Show]:
    async def snapshot() -> str:
        page = await surface.queries.generations(caller, SHOWN, None, Filter())
        return translate.page_view(surface, page).model_dump_json()

    async def show(generation_id: UUID) -> str | None:
        try:
            generation = await surface.queries.generation(caller, generation_id)
        except NotFound:
            return None
        return translate.view(surface, generation).model_dump_json()

    return snapshot, show

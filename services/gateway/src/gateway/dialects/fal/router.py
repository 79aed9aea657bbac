"""The routes of the queue. A path is a model's name, so that they are nobody else's: see `door`."""

import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from gateway.dialects.brought import bring
from gateway.dialects.fal import errors, translate, webhooks
from gateway.dialects.fal.following import follow
from gateway.dialects.fal.running import NODE, ended, run
from gateway.dialects.fal.schemas import Arguments, Cancelled, State
from gateway.dialects.surface import Surface, route_class
from gateway.queries import Queries
from gateway.records import Generation
from gateway.refusals import Invalid
from gateway.streaming import EventStream
from runtime.health import is_transient

Logs = Annotated[str, Query()]
MAX_APP_CHARACTERS = 200
RUN_SECONDS = 280.0
"""Node gives up after 300 s, and fal's client for it asks anew; the one for Python waits for as long as it takes."""
EVENTS_TYPE = "text/event-stream"
IS_HELD_OPEN = "is_held_open"
"""Stands in the state of a request that came by the host that answers with results."""


def make_router(surface: Surface, host: str | None) -> APIRouter:
    """Submit, status, result and cancel, for clients of fal."""
    router = APIRouter(route_class=route_class(errors.render))
    commands, queries, identity = surface.commands, surface.queries, surface.identity

    async def told(app: str, request: Request, logs: str, generation: Generation) -> State:
        position = await _position(queries, generation)
        with_logs = logs.lower() in {"1", "true"}
        return translate.state(_base(request, host), app, generation, position, with_logs=with_logs)

    @router.get("/.well-known/jwks.json")
    async def public_keys() -> dict[str, object]:
        """What verifies the webhooks that are sent from here."""
        return webhooks.key_set(surface.webhooks.public_key())

    @router.get("/{app:path}/requests/{id}/status")
    async def status(app: str, id: str, request: Request, logs: Logs = "") -> Response:  # noqa: A002
        """202 while it goes on, 200 once it has ended, whatever the end."""
        generation = await queries.generation(await identity.required(request), translate.request_id(id))
        return _answer(await told(app, request, logs, generation), 200 if generation.is_final else 202)

    @router.get("/{app:path}/requests/{id}/status/stream")
    async def follow_status(app: str, id: str, request: Request, logs: Logs = "") -> Response:  # noqa: A002
        """The same as server-sent events, until it has ended."""
        caller = await identity.required(request)
        generation = await queries.generation(caller, translate.request_id(id))

        async def show(generation: Generation) -> str:
            return (await told(app, request, logs, generation)).model_dump_json()

        events, place = follow(surface, caller, generation, show), surface.hub.place(caller.user_id)
        return EventStream(events, partial(identity.still, request), place)

    @router.get("/{app:path}/requests/{id}")
    async def result(app: str, id: str, request: Request, response: Response) -> dict[str, object]:  # noqa: A002
        """What was made; 400 while it is being made, else the status that says why there is nothing."""
        caller = await identity.required(request)
        generation = await queries.generation(caller, translate.request_id(id))
        if request.headers.get("user-agent", "").startswith(NODE):
            generation = await ended(surface, caller, generation, RUN_SECONDS)
        response.headers[errors.REQUEST_ID] = str(generation.id)
        return translate.result(surface, generation)

    @router.put("/{app:path}/requests/{id}/cancel")
    async def cancel(app: str, id: str, request: Request) -> Response:  # noqa: A002
        """202 where it is, or will be, cancelled; 400 where it ended otherwise first."""
        _, agreed = await commands.cancel(await identity.required(request), translate.request_id(id))
        return (
            _answer(Cancelled(status="CANCELLATION_REQUESTED"), 202)
            if agreed
            else _answer(Cancelled(status="ALREADY_COMPLETED"), 400)
        )

    @router.post("/{app:path}")
    async def submit(app: str, body: Arguments, request: Request, fal_webhook: str | None = None) -> Response:
        """What stands in the queue now; or its result, at the host that holds requests open."""
        begun_at = time.monotonic()
        caller = await identity.required(request)
        if EVENTS_TYPE in request.headers.get("accept", ""):
            raise Invalid("What is made comes whole, and not as events: ask for JSON, or follow the request's states.")
        if len(app) > MAX_APP_CHARACTERS:
            raise Invalid("The application's name is too long.")
        async with surface.uploads.taking_back(caller) as kept:
            given = await bring(
                surface, caller, body.root, translate.ROUTE, request.headers.get("idempotency-key"), kept
            )
            order = translate.order(surface, app, given, request)
            if fal_webhook:
                order = webhooks.told(surface, caller, order, fal_webhook)
            if getattr(request.state, IS_HELD_OPEN, False):
                is_python = request.headers.get("user-agent", "").startswith("fal-client/")
                left = None if is_python else RUN_SECONDS - (time.monotonic() - begun_at)
                made = await run(surface, request, caller, order, left)
                return JSONResponse(translate.held_open(surface, made), headers={errors.REQUEST_ID: str(made.id)})
            generation = await commands.create(caller, order)
        position = await _position(queries, generation)
        return _answer(translate.submitted(_base(request, host), app, generation, position))

    return router


async def _position(queries: Queries, generation: Generation) -> int:
    """What was accepted is said to be, also while nobody can look how many wait before it: clients would ask anew."""
    try:
        return await queries.position(generation)
    except Exception as error:
        if not is_transient(error):
            raise
        return 0


def _base(request: Request, host: str | None) -> str:
    """Where the queue is reached: by its host, over TLS; or as it was reached, by a port of its own."""
    return f"https://{host}" if host else str(request.base_url).rstrip("/")


def _answer(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")

"""The routes of the queue. A path is a model's name, so that they are nobody else's: see `door`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from gateway.dialects.fal import errors, translate
from gateway.dialects.fal.schemas import Arguments, Cancelled
from gateway.dialects.surface import Surface, route_class
from gateway.refusals import Invalid

MAX_APP_CHARACTERS = 200
REQUEST_ID = "X-Fal-Request-Id"
"""The client for Node reads there whose result it is."""


def make_router(surface: Surface, host: str | None) -> APIRouter:
    """Submit, status, result and cancel, for clients of fal."""
    router = APIRouter(route_class=route_class(errors.render))
    commands, queries, identity = surface.commands, surface.queries, surface.identity

    @router.get("/{app:path}/requests/{id}/status")
    async def status(app: str, id: str, request: Request, logs: Annotated[str, Query()] = "") -> Response:  # noqa: A002
        """202 while it goes on, 200 once it has ended, whatever the end."""
        generation = await queries.generation(await identity.required(request), translate.request_id(id))
        position = await queries.position(generation)
        wants_logs = logs.lower() in {"1", "true"}
        told = translate.state(_base(request, host), app, generation, position, with_logs=wants_logs)
        return _answer(told, 200 if generation.is_final else 202)

    @router.get("/{app:path}/requests/{id}")
    async def result(app: str, id: str, request: Request, response: Response) -> dict[str, object]:  # noqa: A002
        """What was made; 400 while it is being made, else the status that says why there is nothing."""
        generation = await queries.generation(await identity.required(request), translate.request_id(id))
        response.headers[REQUEST_ID] = str(generation.id)
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
        caller = await identity.required(request)
        if len(app) > MAX_APP_CHARACTERS or fal_webhook:
            raise Invalid("fal_webhook: is not offered here." if fal_webhook else "The application's name is too long.")
        generation = await commands.create(caller, translate.order(surface, app, body.root, request))
        position = await queries.position(generation)
        return _answer(translate.submitted(_base(request, host), app, generation, position))

    return router


def _base(request: Request, host: str | None) -> str:
    """Where the queue is reached: by its host, over TLS; or as it was reached, by a port of its own."""
    return f"https://{host}" if host else str(request.base_url).rstrip("/")


def _answer(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")

"""The routes of /replicate/v1."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from contracts.facts import Kind
from gateway.api_keys.ring import WRITE
from gateway.beginnings import together
from gateway.dialects.brought import bring
from gateway.dialects.replicate import errors, files, models, translate, webhooks
from gateway.dialects.replicate.following import follow
from gateway.dialects.replicate.reading import reader_of
from gateway.dialects.replicate.schemas import (
    Model,
    ModelPage,
    NewModelPrediction,
    NewPrediction,
    Prediction,
    PredictionPage,
    PredictionProblem,
    Version,
    VersionPage,
    WebhookSecret,
)
from gateway.dialects.surface import Surface, route_class
from gateway.pages import Filter
from gateway.refusals import NotFound
from gateway.streaming import EventStream
from gateway.words import Words

PAGE = 100

Prefer = Annotated[
    str | None, Header(description="`wait` or `wait=5`: the answer comes once it has ended, or after so many seconds.")
]
"""Read by `preferences`, for it may stand on several lines."""


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": PredictionProblem} for status in (401, *statuses, 503)}


_REFUSED = _problems(400, 402, 403, 404, 410, 413, 422, 429, 504)


def make_router(surface: Surface) -> APIRouter:
    """Predictions and models, for clients of Replicate."""
    router = APIRouter(prefix=models.PREFIX, route_class=route_class(errors.render), tags=["replicate"])
    commands, queries, identity = surface.commands, surface.queries, surface.identity

    async def created(name: str, body: NewModelPrediction, request: Request) -> Response:
        begun_at = time.monotonic()
        caller, model = await identity.required(request), models.find(surface, name)
        async with surface.uploads.taking_back(caller) as kept:
            key = request.headers.get("idempotency-key")
            given = await bring(surface, caller, body.input, translate.ROUTE, key, kept)
            order, seconds = translate.order(model, given, request), translate.wait_seconds(surface, caller, request)
            if body.webhook:
                events = webhooks.events_of(body.webhook_events_filter)
                order = webhooks.told(surface, caller, order, body.webhook, events)
            if seconds is None:
                return _answer(translate.view(surface, await commands.create(caller, order)), 201)
            # The official client reads for half a second longer than it says, and a file takes its time to be stored.
            left = seconds - (time.monotonic() - begun_at)
            made = await commands.create_and_wait(surface.verdicts, caller, order, left)
            return _answer(translate.view(surface, made, waited=True), 201)

    @router.post(
        "/models/{owner}/{name}/predictions",
        status_code=201,
        summary="Make something with a model",
        response_model=Prediction,
        responses=_REFUSED,
    )
    async def create_of_model(
        owner: str, name: str, body: NewModelPrediction, request: Request, prefer: Prefer = None
    ) -> Response:
        return await created(f"{owner}/{name}", body, request)

    @router.post(
        "/predictions",
        status_code=201,
        summary="Make something",
        response_model=Prediction,
        responses=_REFUSED,
    )
    async def create(body: NewPrediction, request: Request, prefer: Prefer = None) -> Response:
        return await created(body.version or body.model or "", body, request)

    @router.get(
        "/predictions", summary="List your predictions", response_model=PredictionPage, responses=_problems(422)
    )
    async def listing(request: Request, cursor: Annotated[str | None, Query(max_length=200)] = None) -> Response:
        """All generations of yours, whichever API they were asked of, the newest first."""
        page = await queries.generations(await identity.required(request), PAGE, cursor, Filter())
        return _answer(translate.page_view(surface, page))

    @router.get(
        "/predictions/{id}", summary="Look at a prediction", response_model=Prediction, responses=_problems(404)
    )
    async def show(id: str, request: Request) -> Response:  # noqa: A002
        generation = await queries.generation(await identity.required(request), translate.prediction_id(id))
        return _answer(translate.view(surface, generation))

    @router.post(
        "/predictions/{id}/cancel", summary="Cancel a prediction", response_model=Prediction, responses=_problems(404)
    )
    async def cancel(id: str, request: Request) -> Response:  # noqa: A002
        """The prediction as it is now; what has ended stays as it is."""
        generation, _ = await commands.cancel(await identity.required(request), translate.prediction_id(id))
        return _answer(translate.view(surface, generation))

    @router.get(
        "/webhooks/default/secret",
        summary="What verifies the webhooks of predictions",
        response_model=WebhookSecret,
        responses=_problems(403, 501),
    )
    async def webhook_secret(request: Request) -> Response:
        """With it webhooks can be signed as well: an API key needs the scope `write`."""
        caller = await identity.required(request)
        if caller.key is not None:
            caller.key.need(WRITE)
        return _answer(WebhookSecret(key=surface.webhooks.secret(caller)))

    _add_stream(router, surface)
    _add_models(router, surface)
    return together(router, files.make_router(surface, _problems(400, 413, 415, 422, 429)))


def _add_stream(router: APIRouter, surface: Surface) -> None:
    words = Words(surface.hub, surface.broker, surface.database)

    @router.get(
        "/predictions/{id}/stream",
        summary="Read a text while it is written",
        response_class=StreamingResponse,
        responses={
            200: {"description": "Server-sent events", "content": {"text/event-stream": {}}},
            **_problems(404, 429),
        },
    )
    async def stream(id: str, request: Request) -> Response:  # noqa: A002
        """`output` for each piece, `error` where there is none, and `done`. `urls.stream` needs no token."""
        caller, still = await reader_of(surface, request, translate.prediction_id(id))
        generation = await surface.queries.generation(caller, translate.prediction_id(id))
        if generation.kind is not Kind.TEXT:
            raise NotFound("Only texts can be read while they are made.")
        return EventStream(follow(words, caller, generation), still, surface.hub.place(caller.user_id))


def _add_models(router: APIRouter, surface: Surface) -> None:
    identity = surface.identity

    @router.get("/models", summary="The models", response_model=ModelPage, responses=_problems())
    async def list_models(request: Request) -> Response:
        await identity.required(request)
        offered = surface.queries.models()
        return _answer(ModelPage(results=[models.model_view(surface, model) for model, _ in offered]))

    @router.get("/models/{owner}/{name}", summary="A model", response_model=Model, responses=_problems(404))
    async def show_model(owner: str, name: str, request: Request) -> Response:
        await identity.required(request)
        return _answer(models.model_view(surface, models.find(surface, f"{owner}/{name}")))

    @router.get(
        "/models/{owner}/{name}/versions",
        summary="The version of a model",
        response_model=VersionPage,
        responses=_problems(404),
    )
    async def list_versions(owner: str, name: str, request: Request) -> Response:
        await identity.required(request)
        return _answer(VersionPage(results=[models.version_view(models.find(surface, f"{owner}/{name}"))]))

    @router.get(
        "/models/{owner}/{name}/versions/{id}",
        summary="A version",
        response_model=Version,
        responses=_problems(404),
    )
    async def show_version(owner: str, name: str, id: str, request: Request) -> Response:  # noqa: A002
        """There is one, whatever it is called by those who knew the model elsewhere."""
        await identity.required(request)
        return _answer(models.version_view(models.find(surface, f"{owner}/{name}")))


def _answer(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")

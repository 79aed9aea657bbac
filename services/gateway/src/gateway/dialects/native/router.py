"""The routes of /v1."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from contracts.facts import Kind, Lane
from gateway.batches import Batch
from gateway.dialects.caching import Known, tagged
from gateway.dialects.native import errors, translate
from gateway.dialects.native.answers import Key, json_answer, problems
from gateway.dialects.native.schemas import (
    BatchView,
    GenerationPage,
    GenerationView,
    Links,
    Models,
    Moment,
    NewBatch,
    NewGeneration,
    NewLinks,
    QuoteView,
    Status,
)
from gateway.dialects.surface import Surface, route_class, traceparent_of
from gateway.live import follow
from gateway.pages import Filter
from gateway.records import Generation
from gateway.refusals import AlreadyFinished
from gateway.streaming import EventStream

MAX_PAGE = 100

Wait = Annotated[
    str | None, Header(alias="Prefer", description="`wait=30`: the answer comes once it is final, or after 30 s.")
]
"""Read by `preferences`, for it may stand on several lines."""


def make_router(surface: Surface) -> APIRouter:
    """The native API over the given commands and queries."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render))
    commands, queries, identity = surface.commands, surface.queries, surface.identity

    @router.post(
        "/generations",
        status_code=202,
        summary="Make something",
        tags=["Generations"],
        response_model=GenerationView,
        responses=problems(402, 410, 501, 504, has_body=True),
    )
    async def create(
        body: NewGeneration, request: Request, idempotency_key: Key = None, prefer: Wait = None
    ) -> Response:
        """Accepts the work and answers at once; `Location` is where to look. It is charged only when delivered."""
        caller, order = await identity.required(request), translate.order(surface, body, request)
        seconds = translate.wait_seconds(surface, caller, request)
        if seconds is None:
            return _accepted(surface, await commands.create(caller, order))
        return _accepted(surface, await commands.create_and_wait(surface.verdicts, caller, order, seconds), seconds)

    @router.post(
        "/quotes",
        summary="Ask what it would cost",
        tags=["Generations"],
        response_model=QuoteView,
        responses=problems(501, has_body=True),
    )
    async def quote(body: NewGeneration, request: Request) -> Response:
        """The same body as for making it. Nothing is recorded and nothing is set aside."""
        asked = await queries.quote(await identity.required(request), translate.order(surface, body, request))
        return _quoted(surface, translate.quote_view(*asked))

    @router.post(
        "/batches",
        status_code=202,
        summary="Make many things",
        tags=["Batches"],
        response_model=BatchView,
        responses=problems(402, 410, 501, 504, has_body=True),
    )
    async def create_batch(body: NewBatch, request: Request, idempotency_key: Key = None) -> Response:
        """Accepts all of them or none, in the `batch` lane unless an item says otherwise."""
        batch = await commands.create_batch(await identity.required(request), translate.orders(surface, body, request))
        return _batch(surface, batch)

    @router.get(
        "/batches/{id}",
        summary="Look at a batch",
        tags=["Batches"],
        response_model=BatchView,
        responses=problems(404),
    )
    async def show_batch(id: str, request: Request, if_none_match: Known = None) -> Response:  # noqa: A002
        batch = await queries.batch(await identity.required(request), translate.generation_id(id))
        return tagged(translate.batch_view(surface, batch), if_none_match)

    @router.get(
        "/generations",
        summary="List your generations",
        tags=["Generations"],
        response_model=GenerationPage,
        responses=problems(422),
    )
    async def listing(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        status: Status | None = None,
        kind: Kind | None = None,
        lane: Lane | None = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
        batch: UUID | None = None,
        q: Annotated[str | None, Query(max_length=200, description="Part of the prompt.")] = None,
        since: Annotated[Moment | None, Query(description="Asked for at or after this moment.")] = None,
        until: Annotated[Moment | None, Query(description="Asked for before this moment.")] = None,
        if_none_match: Known = None,
    ) -> Response:
        """Newest first, a page at a time."""
        wanted = Filter(status, kind, lane, model, batch, q, since, until)
        page = await queries.generations(await identity.required(request), limit, cursor, wanted)
        return tagged(translate.page_view(surface, page), if_none_match)

    @router.get(
        "/generations/{id}",
        summary="Look at a generation",
        tags=["Generations"],
        response_model=GenerationView,
        responses=problems(404),
    )
    async def show(
        id: str,  # noqa: A002
        request: Request,
        prefer: Wait = None,
        if_none_match: Known = None,
    ) -> Response:
        caller, wanted = await identity.required(request), translate.generation_id(id)
        seconds = translate.wait_seconds(surface, caller, request)
        if seconds is None:
            return _shown(surface, await queries.generation(caller, wanted), if_none_match)
        generation = await queries.generation_once_final(surface.verdicts, caller, wanted, seconds)
        return _shown(surface, generation, if_none_match, _applied(seconds))

    @router.delete(
        "/generations/{id}",
        status_code=204,
        summary="Delete a generation",
        tags=["Generations"],
        responses=problems(404, 409),
    )
    async def delete(id: str, request: Request) -> Response:  # noqa: A002
        """It is not shown any more. What it cost stays in the statement, and its Idempotency-Key stays used."""
        await commands.delete(await identity.required(request), translate.generation_id(id))
        return Response(status_code=204)

    @router.post(
        "/generations/{id}/retry",
        status_code=202,
        summary="Try a generation again",
        tags=["Generations"],
        response_model=GenerationView,
        responses=problems(400, 402, 404, 409, 410, 422, 504),
    )
    async def retry(id: str, request: Request, idempotency_key: Key = None) -> Response:  # noqa: A002
        """A new generation like one that failed, was declined or cancelled, at today's price."""
        caller = await identity.required(request)
        traceparent = traceparent_of(request)
        generation = await commands.retry(caller, translate.generation_id(id), idempotency_key, traceparent)
        return _accepted(surface, generation)

    @router.post(
        "/generations/{id}/cancel",
        summary="Cancel a generation",
        tags=["Generations"],
        response_model=GenerationView,
        responses=problems(404, 409),
    )
    async def cancel(id: str, request: Request) -> Response:  # noqa: A002
        """200 with the cancelled generation, 202 while the wish travels, 409 where it ended otherwise first.

        A text that was being read while it was written is completed with what there was, and costs that.
        """
        generation, agreed = await commands.cancel(await identity.required(request), translate.generation_id(id))
        if not agreed:
            raise AlreadyFinished(f"The generation is {generation.status} already.")
        return _generation(surface, generation, 200 if generation.is_final else 202)

    @router.post(
        "/generations/{id}/links",
        summary="Share a generation",
        tags=["Generations"],
        response_model=Links,
        responses=problems(404, has_body=True),
    )
    async def share(id: str, body: NewLinks, request: Request) -> Response:  # noqa: A002
        """Addresses to give to others, or to download by. Where addresses are signed, they end."""
        generation = await queries.generation(await identity.required(request), translate.generation_id(id))
        return json_answer(translate.links_view(surface, generation, body))

    @router.get(
        "/generations/{id}/events",
        summary="Follow a generation",
        tags=["Generations"],
        response_class=StreamingResponse,
        responses={
            200: {"description": "Server-sent events", "content": {"text/event-stream": {}}},
            **problems(404),
        },
    )
    async def events(id: str, request: Request) -> Response:  # noqa: A002
        """`generation` (the whole generation), then `progress` (`{number, stage, percent}`), at last `outcome`."""
        caller = await identity.required(request)
        generation = await queries.generation(caller, translate.generation_id(id))
        stream = follow(
            surface.hub,
            surface.broker,
            surface.database,
            caller,
            generation,
            lambda current: translate.view(surface, current).model_dump_json(),
        )
        return EventStream(stream, partial(identity.still, request), surface.hub.place(caller.user_id))

    @router.get("/models", summary="What can be made", tags=["Models"], response_model=Models, responses=problems(422))
    async def models(request: Request, kind: Kind | None = None) -> Response:
        await identity.required(request)
        return json_answer(Models(items=[translate.model_view(*priced) for priced in queries.models(kind)]))

    return router


def _accepted(surface: Surface, generation: Generation, seconds: float | None = None) -> Response:
    """202, or 200 where it was waited for and is final."""
    headers = {"Location": f"/v1/generations/{generation.id}"} | ({} if seconds is None else _applied(seconds))
    return _generation(surface, generation, 200 if seconds is not None and generation.is_final else 202, headers)


def _applied(seconds: float) -> dict[str, str]:
    return {"Preference-Applied": f"wait={seconds:.0f}"}


def _quoted(surface: Surface, view: QuoteView) -> Response:
    return json_answer(view, headers=translate.deprecation(surface, view.model))


def _batch(surface: Surface, batch: Batch) -> Response:
    headers = translate.deprecation(surface, *(each.model for each in batch.generations))
    return json_answer(translate.batch_view(surface, batch), 202, headers | {"Location": f"/v1/batches/{batch.id}"})


def _shown(
    surface: Surface, generation: Generation, known: str | None, headers: dict[str, str] | None = None
) -> Response:
    told = translate.deprecation(surface, generation.model) | (headers or {})
    return tagged(translate.view(surface, generation), known, told)


def _generation(
    surface: Surface, generation: Generation, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    told = translate.deprecation(surface, generation.model) | (headers or {})
    return json_answer(translate.view(surface, generation), status, told)

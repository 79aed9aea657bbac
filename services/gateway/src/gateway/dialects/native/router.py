"""The routes of /v1."""

from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from contracts.facts import Kind
from contracts.money import to_units
from contracts.questions import MAX_STATEMENT_ENTRIES, MAX_USAGE_ENTRIES, MAX_USAGE_OFFSET
from gateway.dialects.native import errors, translate
from gateway.dialects.native.schemas import (
    Consume,
    Consumed,
    Credits,
    GenerationPage,
    GenerationView,
    Models,
    NewGeneration,
    Problem,
    StatementPage,
    Status,
    UsagePage,
)
from gateway.dialects.surface import Surface, route_class
from gateway.live import follow
from gateway.records import Generation
from gateway.refusals import AlreadyFinished, TooManyRequests

MAX_PAGE = 100

Key = Annotated[
    str | None, Header(alias="Idempotency-Key", description="The same key and body give the same generation.")
]


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "content": {"application/problem+json": {}}} for status in (401, *statuses, 503)}


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
        responses=_problems(400, 402, 413, 422, 429),
    )
    async def create(body: NewGeneration, request: Request, idempotency_key: Key = None) -> Response:
        """Accepts the work and answers at once; `Location` is where to look. It is charged only when delivered."""
        generation = await commands.create(await identity.required(request), translate.order(body, request))
        return _generation(surface, generation, 202, {"Location": f"/v1/generations/{generation.id}"})

    @router.get(
        "/generations",
        summary="List your generations",
        tags=["Generations"],
        response_model=GenerationPage,
        responses=_problems(422),
    )
    async def listing(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        status: Status | None = None,
        kind: Kind | None = None,
    ) -> Response:
        """Newest first, a page at a time."""
        page = await queries.generations(await identity.required(request), limit, cursor, status, kind)
        return _json(translate.page_view(surface, page))

    @router.get(
        "/generations/{id}",
        summary="Look at a generation",
        tags=["Generations"],
        response_model=GenerationView,
        responses=_problems(404),
    )
    async def show(id: str, request: Request) -> Response:  # noqa: A002
        generation = await queries.generation(await identity.required(request), translate.generation_id(id))
        return _generation(surface, generation)

    @router.post(
        "/generations/{id}/cancel",
        summary="Cancel a generation",
        tags=["Generations"],
        response_model=GenerationView,
        responses=_problems(404, 409),
    )
    async def cancel(id: str, request: Request) -> Response:  # noqa: A002
        """200 with the cancelled generation, 202 while the wish travels, 409 where it ended otherwise first."""
        generation, agreed = await commands.cancel(await identity.required(request), translate.generation_id(id))
        if not agreed:
            raise AlreadyFinished(f"The generation is {generation.status} already.")
        return _generation(surface, generation, 200 if generation.is_final else 202)

    @router.get(
        "/generations/{id}/events",
        summary="Follow a generation",
        tags=["Generations"],
        response_class=StreamingResponse,
        responses={
            200: {"description": "Server-sent events", "content": {"text/event-stream": {}}},
            **_problems(404, 429),
        },
    )
    async def events(id: str, request: Request) -> Response:  # noqa: A002
        """`generation` (the whole generation), then `progress` (`{number, stage, percent}`), at last `outcome`."""
        caller = await identity.required(request)
        generation = await queries.generation(caller, translate.generation_id(id))
        if not surface.hub.has_room(caller.user_id):
            raise TooManyRequests("Too many open event streams.", 5)
        stream = follow(
            surface.hub,
            surface.broker,
            surface.database,
            caller,
            generation,
            lambda current: translate.view(surface, current).model_dump_json(),
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    @router.get("/credits", summary="Your credits", tags=["Account"], response_model=Credits, responses=_problems())
    async def balance(request: Request) -> Response:
        found = await queries.balance(await identity.required(request))
        return _json(translate.credits_view(found, surface.credit_price))

    @router.post(
        "/credits/consume",
        summary="Consume credits",
        tags=["Account"],
        response_model=Consumed,
        responses=_problems(400, 402, 413, 422),
    )
    async def consume(body: Consume, request: Request, idempotency_key: Key = None) -> Response:
        """Takes exactly so many, or none. For 15 minutes they pay first for a generation that says `prepaid`."""
        caller, units = await identity.required(request), to_units(str(body.amount))
        taken = await commands.consume(caller, units, body.reason, request.url.path, idempotency_key)
        return _json(translate.consumed_view(taken))

    @router.get(
        "/usage",
        summary="What your credits went into",
        tags=["Account"],
        response_model=UsagePage,
        responses=_problems(422),
    )
    async def usage(
        request: Request,
        since: date | None = None,
        until: date | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_USAGE_ENTRIES)] = 100,
        offset: Annotated[int, Query(ge=0, le=MAX_USAGE_OFFSET)] = 0,
    ) -> Response:
        """Newest first, with totals per day, kind and model; days are UTC, the last 30 unless you say which."""
        found = await queries.usage(await identity.required(request), since, until, limit, offset)
        return _json(translate.usage_view(found))

    @router.get(
        "/credits/statement",
        summary="Where your credits went",
        tags=["Account"],
        response_model=StatementPage,
        responses={200: {"content": {"text/csv": {}}}, **_problems(422)},
    )
    async def statement(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_STATEMENT_ENTRIES)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        format: Literal["json", "csv"] = "json",  # noqa: A002
    ) -> Response:
        """Each generation and each gift, newest first. As CSV, the `Link` header has the next page."""
        found = await queries.statement(await identity.required(request), limit, cursor)
        return _statement(translate.statement_view(found), limit, as_csv=format == "csv")

    @router.get("/models", summary="What can be made", tags=["Models"], response_model=Models, responses=_problems(422))
    async def models(request: Request, kind: Kind | None = None) -> Response:
        await identity.required(request)
        return _json(Models(items=[translate.model_view(*priced) for priced in queries.models(kind)]))

    return router


def _generation(
    surface: Surface, generation: Generation, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return _json(translate.view(surface, generation), status, headers)


def _statement(page: StatementPage, limit: int, *, as_csv: bool) -> Response:
    if not as_csv:
        return _json(page)
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    if page.next_cursor is not None:
        following = urlencode({"format": "csv", "limit": limit, "cursor": page.next_cursor})
        headers["Link"] = f'</v1/credits/statement?{following}>; rel="next"'
    return Response(translate.statement_csv(page), headers=headers, media_type="text/csv")


def _json(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, media_type="application/json")

"""The routes of /v1 about a user's credits."""

from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from contracts.money import to_units
from contracts.statement import MAX_STATEMENT_ENTRIES
from contracts.usage import (
    MAX_USAGE_ENTRIES,
    MAX_USAGE_OFFSET,
)
from gateway.dialects.native import account_translate as translate
from gateway.dialects.native import errors
from gateway.dialects.native.account_schemas import (
    ConfirmedPaymentView,
    Consume,
    Consumed,
    CreditPacksView,
    Credits,
    NewPayment,
    PaymentView,
    StatementPage,
    UsagePage,
)
from gateway.dialects.native.answers import Key, json_answer, problems
from gateway.dialects.surface import Surface, route_class


def make_router(surface: Surface) -> APIRouter:
    """Credits, what became of them, and paying for more."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render))
    commands, queries = surface.commands, surface.queries
    payments, identity = surface.payments, surface.identity

    @router.get("/credits", summary="Your credits", tags=["Account"], response_model=Credits, responses=problems())
    async def balance(request: Request) -> Response:
        found = await queries.balance(await identity.required(request))
        return json_answer(translate.credits_view(found, surface.credit_price))

    @router.post(
        "/credits/consume",
        summary="Consume credits",
        tags=["Account"],
        response_model=Consumed,
        responses=problems(402, 504, has_body=True),
    )
    async def consume(body: Consume, request: Request, idempotency_key: Key = None) -> Response:
        """Takes exactly so many, or none. For 15 minutes they pay first for a generation that says `prepaid`."""
        caller, units = await identity.required(request), to_units(str(body.amount))
        taken = await commands.consume(caller, units, body.reason, request.url.path, idempotency_key)
        return json_answer(translate.consumed_view(taken))

    @router.get(
        "/usage",
        summary="What your credits went into",
        tags=["Account"],
        response_model=UsagePage,
        responses=problems(422),
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
        return json_answer(translate.usage_view(found))

    @router.get(
        "/credits/statement",
        summary="Where your credits went",
        tags=["Account"],
        response_model=StatementPage,
        responses={200: {"content": {"text/csv": {}}}, **problems(422)},
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

    @router.get(
        "/credit-packs",
        summary="What credits cost",
        tags=["Account"],
        response_model=CreditPacksView,
        responses=problems(),
    )
    async def packs(request: Request) -> Response:
        """Empty where payments are not offered."""
        await identity.required(request)
        return json_answer(translate.packs_view(await payments.packs()))

    @router.post(
        "/payments",
        status_code=201,
        summary="Begin to pay",
        tags=["Account"],
        response_model=PaymentView,
        responses=problems(404, has_body=True),
    )
    async def pay(body: NewPayment, request: Request, idempotency_key: Key = None) -> Response:
        """Give `client_secret` to Stripe.js. The credits come once Stripe says that it was paid."""
        caller = await identity.required(request)
        begun = await payments.create(caller, request.url.path, idempotency_key, body.pack, body.amount, body.currency)
        return json_answer(translate.payment_view(begun), 201)

    @router.post(
        "/payments/{id}/confirm",
        summary="Have a payment credited",
        tags=["Account"],
        response_model=ConfirmedPaymentView,
        responses=problems(404),
    )
    async def confirm(id: str, request: Request) -> Response:  # noqa: A002
        """By our id or Stripe's. Harmless at any time: the credits also come by themselves."""
        return json_answer(translate.confirmed_view(await payments.confirm(await identity.required(request), id)))

    @router.post(
        "/payments/{id}/test-card",
        summary="Pay with Stripe's test card",
        tags=["Account"],
        response_model=ConfirmedPaymentView,
        responses=problems(404),
    )
    async def pay_with_test_card(id: str, request: Request) -> Response:  # noqa: A002
        """Only in Stripe's test mode, where no money moves; elsewhere it stays `unpaid`."""
        caller = await identity.required(request)
        return json_answer(translate.confirmed_view(await payments.confirm(caller, id, with_test_card=True)))

    return router


def _statement(page: StatementPage, limit: int, *, as_csv: bool) -> Response:
    if not as_csv:
        return json_answer(page)
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    if page.next_cursor is not None:
        following = urlencode({"format": "csv", "limit": limit, "cursor": page.next_cursor})
        headers["Link"] = f'</v1/credits/statement?{following}>; rel="next"'
    return Response(translate.statement_csv(page), headers=headers, media_type="text/csv")

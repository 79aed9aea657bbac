"""Between /v1 and the commands and queries."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from fastapi import Request

from contracts.facts import Asset, Ending, Input, Lane, Verdict, Visibility
from contracts.ids import asset_id
from contracts.keeping import (
    OfferedUpload,
)
from contracts.money import (
    Price,
    Quote,
    in_credits,
)
from contracts.questions import (
    Affordability,
    CatalogModel,
)
from contracts.talking import Message
from gateway.batches import Batch
from gateway.deprecations import RETIRED_NAME
from gateway.dialects.native.schemas import (
    AssetView,
    BatchView,
    DeliveryView,
    ErrorView,
    GenerationPage,
    GenerationView,
    Links,
    LinkView,
    ModelView,
    NewBatch,
    NewGeneration,
    NewInput,
    NewLinks,
    PriceView,
    QuoteView,
    UploadForm,
    UploadView,
    WebhookView,
)
from gateway.dialects.preferences import preferences, whole_seconds
from gateway.dialects.surface import Surface, traceparent_of
from gateway.identity import Caller
from gateway.orders import Order
from gateway.pages import Page
from gateway.records import Generation
from gateway.refusals import BodyTooLarge, NotFound
from gateway.uploads import Upload
from gateway.visibility import check_offered
from gateway.webhooks.endpoints import Webhook
from runtime.database import Row

DIALECT = "native"


def order(surface: Surface, body: NewGeneration, request: Request, lane: Lane = Lane.INTERACTIVE) -> Order:
    check_offered(surface.addresses, body.visibility)
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=body.kind,
        prompt=body.prompt,
        model=body.model,
        count=body.count,
        size=body.size,
        seconds=body.seconds,
        inputs=tuple(map(_input, body.inputs)),
        messages=tuple(Message(role=each.role, content=each.content) for each in body.messages),
        max_tokens=body.max_tokens,
        prepaid=body.prepaid,
        reuse=body.reuse,
        visibility=body.visibility,
        options=body.options,
        lane=body.lane or lane,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def _input(body: NewInput) -> Input:
    wanted = body.asset_id if body.upload_id is None else asset_id(body.upload_id, 0)
    return Input(role=body.role, asset_id=wanted, url=body.url)


def orders(surface: Surface, body: NewBatch, request: Request) -> list[Order]:
    return [order(surface, item, request, Lane.BATCH) for item in body.items]


def quote_view(fitted: Order, quote: Quote, answer: Affordability) -> QuoteView:
    return QuoteView(
        kind=fitted.kind,
        model=fitted.model or "",
        count=fitted.count,
        size=fitted.size,
        seconds=fitted.seconds,
        max_tokens=fitted.max_tokens,
        quote=in_credits(quote.amount),
        unit_price=in_credits(quote.unit_price),
        price_version=quote.price_version,
        available=in_credits(answer.available),
        affordable=answer.affordable,
    )


def batch_view(surface: Surface, batch: Batch) -> BatchView:
    made = batch.generations
    return BatchView(
        id=batch.id,
        total=len(made),
        finished=sum(generation.is_final for generation in made),
        quote=in_credits(sum(generation.quote.amount for generation in made)),
        cost=in_credits(sum(generation.cost for generation in made)),
        items=[view(surface, generation) for generation in made],
    )


def deprecation(surface: Surface, *models: str) -> dict[str, str]:
    """What an answer says above it where one of these names should not be asked for any more."""
    return RETIRED_NAME.headers if any(map(surface.queries.is_retired, models)) else {}


def wait_seconds(surface: Surface, caller: Caller, request: Request) -> float | None:
    """How long to hold the answer, as a client prefers (RFC 7240, `wait=30`); None where it does not say, or says
    nonsense, and where that is passed over."""
    return surface.verdicts.granted(caller.user_id, whole_seconds(preferences(request).get("wait", "")))


def generation_id(text: str) -> UUID:
    """An id that is none names nothing."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such generation.") from error


def view(surface: Surface, generation: Generation) -> GenerationView:
    ending = generation.outcome.data if generation.outcome else None
    return GenerationView(
        id=generation.id,
        status=generation.status,
        kind=generation.kind,
        model=generation.model,
        prompt=generation.prompt,
        count=generation.count,
        size=generation.size,
        seconds=generation.particulars.get("seconds"),
        quote=in_credits(generation.quote.amount),
        cost=in_credits(generation.cost),
        visibility=generation.visibility,
        assets=[asset_view(surface, asset, generation.visibility) for asset in ending.assets] if ending else [],
        text=ending.text if ending else None,
        usage=ending.usage if ending else None,
        cached=ending is not None and ending.cached is not None,
        error=_error(ending),
        created_at=generation.created_at,
        completed_at=generation.completed_at,
    )


def told(surface: Surface, generation: Generation) -> str | None:
    """As a notification carries it; None where its addresses are keys, which stand in no log."""
    if surface.addresses.key_for(generation.visibility) is not None:
        return None
    return view(surface, generation).model_dump_json()


def _error(ending: Ending | None) -> ErrorView | None:
    if ending is None or ending.verdict is Verdict.COMPLETED:
        return None
    if ending.failure is None:
        return ErrorView(code=ending.verdict, message=f"The generation was {ending.verdict}. Nothing was charged.")
    return ErrorView(code=ending.failure.code, message=ending.failure.message, stage=ending.failure.stage)


def asset_view(surface: Surface, asset: Asset, visibility: Visibility = Visibility.PUBLIC) -> AssetView:
    return AssetView(
        id=asset.id,
        url=surface.address(asset.key, visibility=visibility),
        mime_type=asset.mime_type,
        width=asset.width,
        height=asset.height,
        seconds=asset.seconds,
        sha256=asset.sha256,
        variants={name: surface.address(key, visibility=visibility) for name, key in asset.variants.items()},
    )


def upload_id(text: str) -> UUID:
    """As `generation_id`."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such upload.") from error


def shown(surface: Surface, visibility: Visibility | None) -> Visibility | None:
    """Raises NotConfigured: see `check_offered`."""
    if visibility is not None:
        check_offered(surface.addresses, visibility)
    return visibility


def upload_view(surface: Surface, upload: Upload) -> UploadView:
    asset = asset_view(surface, upload.asset, upload.visibility)
    return UploadView(id=upload.id, asset=asset, visibility=upload.visibility)


def form_view(upload_id: UUID, offered: OfferedUpload) -> UploadForm:
    return UploadForm.model_validate({"id": upload_id, **offered.model_dump()})


def links_view(surface: Surface, generation: Generation, wish: NewLinks) -> Links:
    found = generation.outcome.data.assets if generation.outcome else ()
    ends = surface.addresses.key_for(generation.visibility) is not None
    give = partial(
        surface.address,
        lifetime_seconds=wish.lifetime_seconds,
        download=wish.download,
        visibility=generation.visibility,
    )
    return Links(
        items=[LinkView(asset_id=asset.id, url=give(asset.key)) for asset in found],
        expires_at=datetime.now(UTC) + timedelta(seconds=wish.lifetime_seconds) if ends else None,
    )


def page_view(surface: Surface, page: Page) -> GenerationPage:
    return GenerationPage(items=[view(surface, item) for item in page.items], next_cursor=page.cursor)


def webhook_view(webhook: Webhook) -> WebhookView:
    row = webhook.row
    return WebhookView(
        id=row.id,
        url=row.url,
        events=row.events,
        state=row.state,
        why_disabled=row.why_disabled,
        failing_since=row.failing_since,
        previous_secret_until=row.previous_secret_until,
        created_at=row.created_at,
        secret=webhook.secret,
    )


def delivery_view(row: Row) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        generation_id=row.generation_id,
        event=row.event,
        state=row.state,
        attempts=row.attempts,
        next_at=row.next_at if row.state == "pending" else None,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


async def raw_body(request: Request, max_bytes: int) -> bytes:
    """The bytes as they came. Raises BodyTooLarge while they arrive."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"A body may have {max_bytes} bytes at most here.")
    return bytes(body)


def model_view(model: CatalogModel, prices: Sequence[Price]) -> ModelView:
    return ModelView(
        id=model.id,
        kind=model.kind,
        provider=model.provider,
        state="legacy" if model.state == "legacy" else "active",
        successor=model.successor,
        sizes=list(model.sizes),
        default_size=model.default_size,
        seconds=list(model.seconds),
        default_seconds=model.default_seconds,
        ratios=list(model.ratios),
        inputs=list(model.inputs),
        needs=list(model.needs),
        voices=list(model.voices),
        max_tokens=model.max_tokens,
        max_count=model.max_count,
        max_prompt_characters=model.max_prompt_characters,
        price=in_credits(prices[0].amount),
        prices=[
            PriceView(
                price=in_credits(price.amount),
                per=price.per,
                input_price=in_credits(price.input_amount) if price.per == "million_tokens" else None,
                size=price.size,
                quality=price.quality,
            )
            for price in prices
        ],
    )

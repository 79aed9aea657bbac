"""Between /v1 and the commands and queries."""

from uuid import UUID

from fastapi import Request

from contracts.facts import Asset, Ending, Verdict
from contracts.money import in_credits
from contracts.questions import Balance, CatalogModel
from gateway.commands import Order
from gateway.dialects.native.schemas import (
    AssetView,
    Credits,
    ErrorView,
    GenerationPage,
    GenerationView,
    ModelView,
    NewGeneration,
)
from gateway.dialects.surface import Surface, traceparent_of
from gateway.pages import Page
from gateway.records import Generation
from gateway.refusals import NotFound

DIALECT = "native"


def order(body: NewGeneration, request: Request) -> Order:
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=body.kind,
        prompt=body.prompt,
        model=body.model,
        count=body.count,
        size=body.size,
        options=body.options,
        lane=body.lane,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


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
        quote=in_credits(generation.quote.amount),
        cost=in_credits(generation.cost),
        assets=[asset_view(surface, asset) for asset in ending.assets] if ending else [],
        error=_error(ending),
        created_at=generation.created_at,
        completed_at=generation.completed_at,
    )


def _error(ending: Ending | None) -> ErrorView | None:
    if ending is None or ending.verdict is Verdict.COMPLETED:
        return None
    if ending.failure is None:
        return ErrorView(code=ending.verdict, message=f"The generation was {ending.verdict}. Nothing was charged.")
    return ErrorView(code=ending.failure.code, message=ending.failure.message)


def asset_view(surface: Surface, asset: Asset) -> AssetView:
    return AssetView(
        id=asset.id,
        url=surface.address(asset.key),
        mime_type=asset.mime_type,
        width=asset.width,
        height=asset.height,
        sha256=asset.sha256,
        variants={name: surface.address(key) for name, key in asset.variants.items()},
    )


def page_view(surface: Surface, page: Page) -> GenerationPage:
    return GenerationPage(items=[view(surface, item) for item in page.items], next_cursor=page.cursor)


def credits_view(balance: Balance) -> Credits:
    return Credits(
        available=in_credits(balance.available), held=in_credits(balance.held), used=in_credits(balance.used)
    )


def model_view(model: CatalogModel, price: int) -> ModelView:
    return ModelView(
        id=model.id,
        kind=model.kind,
        provider=model.provider,
        state="legacy" if model.state == "legacy" else "active",
        sizes=list(model.sizes),
        default_size=model.default_size,
        max_count=model.max_count,
        max_prompt_characters=model.max_prompt_characters,
        price=in_credits(price),
    )

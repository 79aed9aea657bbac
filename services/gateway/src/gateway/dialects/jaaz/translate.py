"""Between the jaaz frontend and the commands and queries."""

from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any
from uuid import UUID

from fastapi import Request

from contracts.facts import Kind
from contracts.money import UNITS_PER_CREDIT, Balance, Usage
from contracts.usage import UsageEntry, UsageReport
from gateway.dialects.endings import delivered
from gateway.dialects.jaaz import elements as things
from gateway.dialects.jaaz.canvases import Canvas
from gateway.dialects.jaaz.configs import Wish
from gateway.dialects.jaaz.files import File
from gateway.dialects.jaaz.schemas import (
    BalanceView,
    CanvasView,
    FileView,
    GeneratedImage,
    GeneratedText,
    GenerateImage,
    GenerateText,
    ProviderConfig,
    TokenUsage,
    Uploaded,
    UsageList,
    UsageView,
)
from gateway.dialects.jaaz.talk import DIALECT
from gateway.dialects.surface import Surface, traceparent_of
from gateway.identity import Caller
from gateway.inputs import FILE_PATH
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import Invalid

MAX_SEED = 2**31 - 1
CURRENCY = "USD"
_MONEY = Decimal("0.01")
_FINE_MONEY = Decimal("0.0001")


def money(units: int, credit_price: Decimal, step: Decimal = _FINE_MONEY) -> float:
    """What units are worth, in USD."""
    return float((units * credit_price / UNITS_PER_CREDIT).quantize(step, ROUND_DOWN))


def image_order(body: GenerateImage, generation_id: UUID, request: Request) -> Order:
    """The seed follows from the id, so that the same key is the same order. Raises Invalid."""
    if (body.width is None) != (body.height is None):
        raise Invalid("width and height: both, or neither")
    named = {"num_inference_steps": body.steps, "guidance_scale": body.guidance}
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.IMAGE,
        prompt=body.prompt,
        model=body.model or None,
        size=f"{body.width}x{body.height}" if body.width else None,
        options={name: value for name, value in named.items() if value is not None} | {"seed": seed_of(generation_id)},
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def seed_of(generation_id: UUID) -> int:
    return generation_id.int % MAX_SEED


def image(surface: Surface, generation: Generation) -> GeneratedImage:
    """Raises Refusal: it ended otherwise, or has not ended yet."""
    asset = delivered(generation).assets[0]
    asked = {"model": generation.model, "width": asset.width, "height": asset.height}
    names = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
    asked |= {names[name]: value for name, value in generation.options.items() if name in names}
    return GeneratedImage(
        image_url=surface.address(asset.key, visibility=generation.visibility),
        seed=int(generation.options.get("seed", 0)),
        parameters=asked,
        generation_id=str(generation.id),
    )


def text_order(body: GenerateText, request: Request) -> Order:
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.TEXT,
        prompt=body.prompt,
        model=body.model or None,
        max_tokens=body.max_tokens,
        options={} if body.temperature is None else {"temperature": body.temperature},
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def words(generation: Generation) -> GeneratedText:
    """Raises Refusal: it ended otherwise, or has not ended yet."""
    ending = delivered(generation)
    return GeneratedText(text=ending.text or "", usage=tokens(ending.usage))


def tokens(usage: Usage | None) -> TokenUsage:
    read, written = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    return TokenUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def canvas(surface: Surface, found: Canvas) -> CanvasView:
    return CanvasView(
        id=found.id,
        title=found.name,
        elements=addressed(surface, things.visible(found.elements)),
        app_state=found.app_state,
        files=addressed(surface, found.files),
        thumbnail=addressed(surface, found.thumbnail),
        version=found.version,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def canvas_update(surface: Surface, caller: Caller, found: Canvas) -> dict[str, Any]:
    """What the sockets hear of a canvas that changed."""
    return {
        "canvas_id": found.id,
        "elements": addressed(surface, things.visible(found.elements)),
        "app_state": found.app_state,
        "version": found.version,
        "user_id": str(caller.user_id),
    }


def addressed(surface: Surface, value: Any) -> Any:
    """The same, with our files by their whole address: rows keep the path, so that a domain can change."""
    if isinstance(value, str):
        return surface.addresses.public_url.rstrip("/") + value if value.startswith(FILE_PATH) else value
    if isinstance(value, dict):
        return {name: addressed(surface, part) for name, part in value.items()}
    if isinstance(value, list):
        return [addressed(surface, part) for part in value]
    return value


def wishes(providers: dict[str, ProviderConfig]) -> dict[str, Wish]:
    return {
        name: Wish(
            config.models,
            config.url,
            config.max_tokens,
            config.api_key,
            drop_key="api_key" in config.model_fields_set and config.api_key is None,
        )
        for name, config in providers.items()
    }


def balance(found: Balance, credit_price: Decimal) -> BalanceView:
    """An account in which nothing has happened yet is as it is now."""
    return BalanceView(
        balance=money(found.available, credit_price, _MONEY),
        currency=CURRENCY,
        last_updated=found.last_updated or datetime.now(UTC),
    )


def usage(report: UsageReport, credit_price: Decimal) -> UsageList:
    return UsageList(
        usage=[
            UsageView(
                date=entry.at,
                amount=money(entry.used, credit_price),
                description=_what(entry),
                model=entry.model or "",
            )
            for entry in report.entries
        ],
        total=report.total,
    )


def _what(entry: UsageEntry) -> str:
    if entry.kind is None:
        return entry.reason or "Credits consumed"
    return f"{entry.kind.value.capitalize()} generation"


def uploaded(surface: Surface, file: File) -> Uploaded:
    return Uploaded(
        id=str(file.id),
        url=surface.address(file.key, visibility=file.visibility),
        filename=file.filename,
        size=file.size_bytes,
        mime_type=file.mime_type,
    )


def file_view(surface: Surface, file: File) -> FileView:
    return FileView(
        id=str(file.id),
        filename=file.filename,
        url=surface.address(file.key, visibility=file.visibility),
        size=file.size_bytes,
        created_at=file.created_at,
    )

"""Between the social frontend and the commands and queries."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from fastapi import Request

from contracts.facts import Kind
from contracts.money import Balance, in_credits
from contracts.questions import CatalogModel
from gateway.dialects.callers import uuid_of
from gateway.dialects.endings import delivered
from gateway.dialects.social.pictures import Page, Picture
from gateway.dialects.social.schemas import (
    Download,
    GeneratedImages,
    GeneratedText,
    GenerateImage,
    GenerateText,
    History,
    ImageMetadata,
    ImageView,
    Pagination,
    Service,
    TextMetadata,
)
from gateway.dialects.social.styles import enhanced
from gateway.dialects.social.writing import MAX_TOKENS, instruction
from gateway.dialects.surface import Surface, traceparent_of
from gateway.orders import MAX_COUNT, Order
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound

DIALECT = "social"
SIZE = "1024x1024"
DOWNLOAD_SECONDS = 300
"""How long the link of a download lives, where addresses end at all."""
PREFERRED = ("dall-e-3", "stable-diffusion")
"""Which image model makes the pictures: the first whose provider has a key, or its successor."""
_OPTIONS: dict[str, dict[str, int]] = {"stability": {"cfg_scale": 7}}
"""What the seed asks of a provider beside the prompt; `steps` is no parameter of today's API."""
_SERVICES: dict[str, Service] = {"openai": "openai", "google": "openai"}
"""The nearest of the three, by the true provider; all others draw by diffusion."""


def images_order(body: GenerateImage, request: Request, models: Sequence[CatalogModel], most_images: int) -> Order:
    """Raises Invalid for more pictures than one request may have."""
    most = min(most_images, MAX_COUNT)
    count = most if body.count is None else body.count
    if count > most:
        at_most = f"at most {most}"
        raise Invalid(
            f"One request makes {at_most} images.", details={"errors": [{"field": "count", "message": at_most}]}
        )
    model = preferred(models)
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.IMAGE,
        prompt=body.prompt,
        told=enhanced(body.prompt, body.style),
        model=model.id if model else None,
        count=count,
        size=SIZE,
        reuse=True,
        options=dict(_OPTIONS.get(model.provider, {})) if model else {},
        remarks={"style": body.style.value},
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def text_order(body: GenerateText, request: Request) -> Order:
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.TEXT,
        prompt=body.prompt,
        messages=(instruction(body.tone, body.type),),
        max_tokens=MAX_TOKENS,
        remarks={"tone": body.tone.value, "type": body.type.value},
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def preferred(models: Sequence[CatalogModel]) -> CatalogModel | None:
    """The model of this dialect's pictures; None where neither is offered, and the default of all dialects serves."""
    offered = {model.id: model for model in models}
    for name in PREFERRED:
        if name in offered:
            return offered.get(offered[name].successor or name, offered[name])
    return None


def images(surface: Surface, generation: Generation, balance: Balance | None) -> GeneratedImages:
    """The delivered pictures.

    Raises:
        Refusal: the generation ended otherwise, or has not ended yet.
    """
    pictures = [Picture(generation, asset) for asset in delivered(generation).assets]
    return GeneratedImages(
        images=[image_view(surface, picture) for picture in pictures],
        cost=in_credits(generation.cost),
        remainingCredits=_remaining(balance),
    )


def words(generation: Generation, balance: Balance | None) -> GeneratedText:
    """The delivered text. Raises what `images` does."""
    ending = delivered(generation)
    provider = ending.provider or ""
    return GeneratedText(
        text=ending.text or "",
        metadata=TextMetadata(
            tone=generation.remarks["tone"],
            type=generation.remarks["type"],
            prompt=generation.prompt,
            generatedAt=_iso(generation.completed_at or generation.created_at),
            aiService=service_of(provider),
            provider=provider,
            model=generation.model,
            generationId=generation.id,
        ),
        cost=in_credits(generation.cost),
        remainingCredits=_remaining(balance),
    )


def image_view(surface: Surface, picture: Picture) -> ImageView:
    generation, asset = picture.generation, picture.asset
    provider = (generation.outcome.data.provider if generation.outcome else None) or ""
    url = surface.address(asset.key, visibility=generation.visibility)
    variants = {name: surface.address(key, visibility=generation.visibility) for name, key in asset.variants.items()}
    return ImageView(
        id=asset.id,
        url=url,
        thumbnail=variants.get("thumbnail", url),
        metadata=ImageMetadata(
            style=generation.remarks["style"],
            prompt=generation.prompt,
            generatedAt=_iso(generation.completed_at or generation.created_at),
            aiService=service_of(provider),
            provider=provider,
            model=generation.model,
            generationId=generation.id,
            cached=generation.outcome is not None and generation.outcome.data.cached is not None,
            width=asset.width,
            height=asset.height,
            blurhash=asset.blurhash,
            variants=variants,
        ),
    )


def history(surface: Surface, page: Page, number: int, limit: int) -> History:
    pages = -(-page.total // limit)
    return History(
        images=[image_view(surface, picture) for picture in page.pictures],
        pagination=Pagination(
            page=number,
            limit=limit,
            total=page.total,
            totalPages=pages,
            hasNext=number < pages,
            hasPrev=number > 1,
        ),
    )


def download(surface: Surface, picture: Picture) -> Download:
    """A link that a browser keeps as a file, and which ends soon where addresses end at all."""
    asset, visibility = picture.asset, picture.generation.visibility
    url = surface.address(asset.key, DOWNLOAD_SECONDS, visibility=visibility, download=True)
    ends = surface.addresses.key_for(visibility) is not None
    return Download(
        id=asset.id,
        downloadUrl=url,
        url=url,
        filename=f"{asset.id}.{asset.key.rpartition('.')[2]}",
        expiresAt=_iso(datetime.now(UTC) + timedelta(seconds=DOWNLOAD_SECONDS)) if ends else None,
    )


def image_id(text: str) -> UUID:
    """Raises NotFound for what is no id."""
    found = uuid_of(text)
    if found is None:
        raise NotFound("There is no such image.")
    return found


def service_of(provider: str) -> Service:
    return _SERVICES.get(provider, "stable-diffusion")


def _remaining(balance: Balance | None) -> int | float | None:
    return None if balance is None else in_credits(balance.available)


def _iso(moment: datetime) -> str:
    """As JavaScript writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

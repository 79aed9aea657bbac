"""Between the modelark frontend and the commands and queries."""

from fastapi import Request

from contracts.facts import Kind
from gateway.dialects.endings import delivered
from gateway.dialects.modelark.schemas import GeneratedImages, GenerateImage, ImageView
from gateway.dialects.surface import Surface, traceparent_of
from gateway.orders import Order
from gateway.records import Generation

DIALECT = "modelark"


def order(body: GenerateImage, request: Request) -> Order:
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.IMAGE,
        prompt=body.prompt,
        model=body.model or None,
        size=body.size or None,
        options={"watermark": True} if body.watermark else {},
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def images(surface: Surface, generation: Generation) -> GeneratedImages:
    """The delivered pictures.

    Raises:
        Refusal: the generation ended otherwise, or has not ended yet.
    """
    return GeneratedImages(
        promptId=generation.id,
        images=[
            ImageView(
                id=asset.id,
                url=asset.source_url or surface.address(asset.key, visibility=generation.visibility),
                bucketUrl=surface.address(asset.key, visibility=generation.visibility),
                size=generation.size or f"{asset.width}x{asset.height}",
            )
            for asset in delivered(generation).assets
        ],
    )


def provider_answer(surface: Surface, generation: Generation) -> dict[str, object]:
    """The answer of a connection test, in the provider's own shape."""
    made = images(surface, generation)
    return {
        "model": generation.model,
        "created": int(generation.created_at.timestamp()),
        "data": [{"url": image.url, "size": image.size} for image in made.images],
        "usage": {"generated_images": len(made.images)},
    }

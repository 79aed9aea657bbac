"""Between OpenAI's pictures and models, and the commands and queries."""

import base64
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import Request

from contracts.facts import Asset, Input, Kind
from contracts.questions import CatalogModel
from gateway.dialects.endings import delivered
from gateway.dialects.openai.schemas import EditImages, GenerateImages, Model, Picture, Pictures
from gateway.dialects.surface import Surface, traceparent_of
from gateway.lending import Lending
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import NotFound

DIALECT = "openai"
MAX_INLINE_BYTES = 32 << 20
"""Of one picture that stands in an answer."""
_ALWAYS_INLINE = "gpt-image-"
"""OpenAI answers with nothing but base64 for these, so that programs for them look nowhere else."""
_OPTIONS = (
    "quality", "output_format", "output_compression", "background", "moderation", "style", "input_fidelity",
)  # fmt: skip
_AUTO = "auto"


def images_order(body: GenerateImages | EditImages, request: Request, inputs: Sequence[Input] = ()) -> Order:
    asked = body.model_dump(exclude_none=True)
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.IMAGE,
        prompt=body.prompt,
        model=body.model or None,
        count=body.n or 1,
        size=None if body.size in {None, "", _AUTO} else body.size,
        inputs=tuple(inputs),
        options={name: asked[name] for name in _OPTIONS if asked.get(name, _AUTO) != _AUTO} | _shown(body),
        remarks=remarks_of(body.user),
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def _shown(body: GenerateImages | EditImages) -> dict[str, Any]:
    """How often it is shown before it is finished, which makes no sense without a stream."""
    return {"partial_images": body.partial_images} if body.stream and body.partial_images else {}


def remarks_of(user: str | None) -> dict[str, Any]:
    """What a program calls its own user is kept beside what it asked for, and told nobody."""
    return {"user": user} if user else {}


def is_inline(body: GenerateImages | EditImages, generation: Generation) -> bool:
    """Whether the pictures themselves stand in the answer."""
    if body.response_format is None:
        return generation.model.startswith(_ALWAYS_INLINE)
    return body.response_format == "b64_json"


async def pictures(surface: Surface, lending: Lending, generation: Generation, *, inline: bool) -> Pictures:
    """The delivered pictures.

    Raises:
        Refusal: the generation ended otherwise, has not ended yet, or its bytes cannot be read.
    """
    assets = delivered(generation).assets
    inlined = [await in_base64(lending, generation, asset) if inline else None for asset in assets]
    return Pictures(
        created=int(generation.created_at.timestamp()),
        data=[
            Picture(url=address_of(surface, generation, asset), b64_json=text)
            for asset, text in zip(assets, inlined, strict=True)
        ],
        background=generation.options.get("background"),
        output_format=format_of(assets[0]),
        quality=generation.options.get("quality"),
        size=size_of(generation, assets[0]),
    )


async def in_base64(lending: Lending, generation: Generation, asset: Asset) -> str:
    borrowed = await lending.borrow(generation.user_id, asset.id, MAX_INLINE_BYTES)
    return base64.b64encode(b"".join([chunk async for chunk in borrowed.chunks])).decode()


def address_of(surface: Surface, generation: Generation, asset: Asset) -> str:
    return surface.address(asset.key, visibility=generation.visibility)


def format_of(asset: Asset) -> str:
    """What it is, whatever was asked for: `png`, `jpeg` or `webp`."""
    return asset.mime_type.partition("/")[2]


def size_of(generation: Generation, asset: Asset) -> str:
    return generation.size or f"{asset.width}x{asset.height}"


def model_view(model: CatalogModel) -> Model:
    return Model(id=model.id, owned_by=model.provider, kind=model.kind.value)


def id_in(prefix: str, name: str) -> UUID:
    """The generation that an id of ours names. Raises NotFound."""
    try:
        return UUID(name.removeprefix(prefix))
    except ValueError:
        raise NotFound(f"There is no such thing: {name[:40]!r}.") from None

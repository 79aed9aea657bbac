"""Between the frontend's videos and the commands and queries."""

from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import Request

from contracts.facts import Asset, Input, Kind
from contracts.questions import CatalogModel
from gateway.dialects.endings import delivered
from gateway.dialects.modelark.schemas import GeneratedVideo, VideoFields
from gateway.dialects.modelark.translate import DIALECT
from gateway.dialects.surface import Surface, traceparent_of
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import Invalid

SIZES = {"16:9": "1280x720", "9:16": "720x1280", "1:1": "1024x1024"}
SHORTEST, LONGEST = 2, 10
"""In seconds; every whole one between them."""
NAMES = ("seedance-1-0-lite-t2v", "runway-gen-2", "stable-video")
"""What the frontend offers its users, whatever providers the operator has keys for."""
FIRST_FRAME = "first_frame"


def order(surface: Surface, fields: VideoFields, request: Request, *, starts: bool = False) -> Order:
    """What is asked for; where it `starts` from an image, the model is one that can. Raises Invalid."""
    size = SIZES.get(fields.aspectRatio)
    if size is None:
        raise _invalid("aspectRatio", f"one of {', '.join(SIZES)}")
    if fields.duration not in {str(seconds) for seconds in range(SHORTEST, LONGEST + 1)}:
        raise _invalid("duration", f"a whole number of seconds, {SHORTEST} to {LONGEST}")
    offered = [model for model, _ in surface.queries.models(Kind.VIDEO)]
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.VIDEO,
        prompt=fields.prompt,
        model=model_of(offered, fields.model or None, starts=starts),
        size=size,
        seconds=int(fields.duration),
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def starting(order: Order, image: Asset) -> Order:
    """The same, from this image."""
    return replace(order, inputs=(Input(role=FIRST_FRAME, asset_id=image.id),))


def model_of(offered: list[CatalogModel], name: str | None, *, starts: bool) -> str | None:
    """The model that does it: the one that is named, or who stands in for it.

    A name of the frontend's that nobody here has a key for is the default model. What cannot start from an image hands
    that to its sibling that can (`t2v` → `i2v`), else to the first that can.
    """
    known = {model.id: model for model in offered}
    if name is None or (name in NAMES and name not in known):
        name = offered[0].id if offered else name
    if not starts or name not in known or FIRST_FRAME in known[name].inputs:
        return name
    able = [model.id for model in offered if FIRST_FRAME in model.inputs]
    sibling = name.replace("t2v", "i2v")
    return sibling if sibling in able else next(iter(able), name)


def video(surface: Surface, generation: Generation, fields: VideoFields) -> GeneratedVideo:
    """The delivered video.

    Raises:
        Refusal: the generation ended otherwise, or has not ended yet.
    """
    [asset, *_] = delivered(generation).assets
    return GeneratedVideo(
        video_url=surface.address(asset.key, visibility=generation.visibility),
        duration=int(fields.duration),
        aspectRatio=fields.aspectRatio,
        task_id=generation.id,
    )


def provider_answer(surface: Surface, generation: Generation) -> dict[str, object]:
    """The answer of a connection test, in the shape of ModelArk's finished task."""
    [asset, *_] = delivered(generation).assets
    return {
        "id": str(generation.id),
        "model": generation.model,
        "status": "succeeded",
        "content": {"video_url": asset.source_url or surface.address(asset.key, visibility=generation.visibility)},
        "created_at": int(generation.created_at.timestamp()),
        "updated_at": int((generation.completed_at or generation.created_at).timestamp()),
    }


async def all_of(first: bytes | None, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A file of which a piece was read already, where it has one."""
    if first is not None:
        yield first
    async for piece in rest:
        yield piece


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", details={"errors": [{"field": field, "message": message}]})

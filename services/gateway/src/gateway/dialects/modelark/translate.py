"""Between the modelark frontend and the commands and queries."""

from uuid import UUID

from fastapi import Request

from contracts.facts import Failure, Kind, Verdict
from contracts.money import in_credits
from gateway.dialects.modelark.schemas import GeneratedImages, GenerateImage, ImageView
from gateway.dialects.surface import Surface, traceparent_of
from gateway.identity import DEVELOPMENT_USER, NOBODY, Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import InsufficientCredits, NotFound, Refusal, TimedOut, Unauthenticated

DIALECT = "modelark"
_STATUS_OF_FAILURE = {
    "content_policy": 400,
    "invalid_request": 400,
    "provider_throttled": 429,
    "deadline": 504,
}


async def caller(surface: Surface, request: Request, user_id: str | None) -> Caller:
    """The token's user. The body may name that user only; a service may act for anybody.

    On a stack of one's own machine the body's user, or the development user, asks without a token.

    Raises:
        Unauthenticated, NotFound
    """
    known = await surface.identity.caller(request)
    named = _uuid(user_id)
    if known is None:
        if not surface.identity.local_mode:
            raise Unauthenticated("A bearer token is required.")
        return Caller(named or DEVELOPMENT_USER)
    if known.is_service and named is not None:
        return Caller(named, known.role)
    if known.user_id == NOBODY:
        raise Unauthenticated("A service has to name the user that it acts for.")
    if user_id is not None and named != known.user_id:
        raise NotFound("There is no such user.")
    return known


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
    if generation.outcome is None:
        raise TimedOut("The image is still being made.", headers={"Location": f"/v1/generations/{generation.id}"})
    ending = generation.outcome.data
    if ending.verdict is Verdict.DECLINED:
        raise InsufficientCredits(
            ending.failure.message if ending.failure else "Not enough credits.",
            details={"required": in_credits(generation.quote.amount)},
        )
    if ending.verdict is not Verdict.COMPLETED:
        raise _refusal(ending.verdict, ending.failure)
    return GeneratedImages(
        promptId=generation.id,
        images=[
            ImageView(
                id=asset.id,
                url=asset.source_url or surface.address(asset.key, visibility=generation.visibility),
                bucketUrl=surface.address(asset.key, visibility=generation.visibility),
                size=generation.size or f"{asset.width}x{asset.height}",
            )
            for asset in ending.assets
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


def _refusal(verdict: Verdict, failure: Failure | None) -> Refusal:
    if failure is None:
        refusal = Refusal(f"The image was {verdict}.")
        refusal.status, refusal.code = 409, verdict.value
    else:
        refusal = Refusal(failure.message)
        refusal.status, refusal.code = _STATUS_OF_FAILURE.get(failure.code, 502), failure.code
    return refusal


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None

"""The routes of /functions/v1, as the frontend's Supabase client calls them."""

from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Request

from contracts.facts import Kind
from contracts.money import in_credits, to_units
from contracts.payments import MAX_PRICE, minor_units
from contracts.questions import Consumption
from gateway.dialects.endings import delivered
from gateway.dialects.jaaz import errors, function_orders, translate
from gateway.dialects.jaaz.answers import Desk
from gateway.dialects.jaaz.function_schemas import (
    ChatWithGpt,
    ConsumeCredits,
    CreatePaymentIntent,
    CreditsConsumed,
    FunctionError,
    GeneratePokemonImages,
    GptAnswer,
    MadeVideo,
    PaymentIntent,
    PaymentProcessed,
    PokemonImages,
    ProcessElevenLabsVideo,
    ProcessImagePipeline,
    ProcessPaymentSuccess,
    TakenSound,
)
from gateway.dialects.jaaz.schemas import Document
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound

PREFIX = "/functions/v1"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": FunctionError} for status in (400, 401, 402, 404, 409, 413, 415, 422, 429, 502, 503, 504)
}
_STATES = {"pending": "IN_QUEUE", "processing": "IN_PROGRESS", "completed": "COMPLETED"}


def make_router(desk: Desk) -> APIRouter:
    """The seven functions."""
    router = APIRouter(prefix=PREFIX, tags=["jaaz"], route_class=route_class(errors.render_function), responses=_ERRORS)
    surface = desk.surface

    @router.post("/consume-credits", summary="Consume credits")
    async def consume(body: ConsumeCredits, request: Request) -> CreditsConsumed:
        """What is consumed pays first for what is asked for next: both are one purchase."""
        who, asked = await desk.who(request, body.user_id), body.amount if body.amount is not None else body.credits
        key = request.headers.get("idempotency-key")
        taken = await surface.commands.consume(who, _units(asked), body.description, request.url.path, key)
        return _consumed(taken)

    @router.post("/create-payment-intent", summary="Begin to pay for credits")
    async def pay(body: CreatePaymentIntent, request: Request) -> PaymentIntent:
        """The price comes from our plans: one that was not ours is refused, and credits are never believed."""
        who, key = await desk.who(request), request.headers.get("idempotency-key")
        currency = body.currency.lower() if body.currency else None
        price = _price(body, currency)
        begun = await surface.payments.create(who, request.url.path, key, body.planId, price, currency)
        return PaymentIntent(
            client_secret=begun.client_secret,
            payment_intent_id=begun.payment_intent,
            clientSecret=begun.client_secret,
            id=begun.payment_intent,
            amount=begun.price,
            currency=begun.currency,
            status=begun.status,
        )

    @router.post("/process-payment-success", summary="Have a payment credited")
    async def paid(body: ProcessPaymentSuccess, request: Request) -> PaymentProcessed:
        """Credits only what Stripe itself says was paid by this user."""
        who, reference = await desk.who(request, body.user_id), body.payment_intent_id or body.paymentIntentId
        if not reference:
            raise Invalid("payment_intent_id: a text")
        confirmed = await surface.payments.confirm(who, reference)
        added = in_credits(confirmed.credits) if confirmed.state == "credited" else 0
        total = in_credits(confirmed.balance.available) if confirmed.balance is not None else None
        return PaymentProcessed(
            success=confirmed.state == "credited", credits_added=added, creditsAdded=added, totalCredits=total
        )

    @router.post("/process-image-pipeline", summary="Make an image: at once, or by submitting and asking")
    async def pipeline(body: ProcessImagePipeline, request: Request) -> Document:
        """Addresses that are sent back are read for the id in them, and never asked."""
        who = await desk.who(request, body.user_id)
        if body.action in {"status", "result"}:
            return await _looked_at(surface, who, body)
        offered = [model for model, _ in surface.queries.models(Kind.IMAGE)]
        order = function_orders.pipeline(body, request, offered)
        if body.modelId or body.sourceImageUrl:
            return _submitted(surface, await surface.commands.create(who, order))
        [address] = _addresses(surface, await _made(surface, who, order))
        return {"success": True, "image_url": address, "imageUrl": address, "images": [{"url": address}]}

    @router.post("/generate-pokemon-images", summary="Draw Pokémon")
    async def pokemon(body: GeneratePokemonImages, request: Request) -> PokemonImages:
        who, order = await desk.who(request), function_orders.pokemon(body, request)
        found = _addresses(surface, await _made(surface, who, order))
        return PokemonImages(images=found, imageUrls=found, imageUrl=found[0])

    @router.post("/process-elevenlabs-video", summary="Make a video of a picture and a sound, or take its sound out")
    async def video(body: ProcessElevenLabsVideo, request: Request) -> MadeVideo | TakenSound:
        """All of them may be media of the caller's own. A video without a sound is refused, uncharged."""
        who = await desk.who(request)
        if body.videoUrl:
            [address] = _addresses(surface, await _made(surface, who, function_orders.sound(body.videoUrl, request)))
            return TakenSound(audio_url=address, audioUrl=address)
        [address] = _addresses(surface, await _made(surface, who, function_orders.film(body, request)))
        return MadeVideo(video_url=address, videoUrl=address)

    @router.post("/chat-with-gpt", summary="Ask a language model")
    async def chat(body: ChatWithGpt, request: Request) -> GptAnswer:
        who, order = await desk.who(request), function_orders.chat(body, request)
        written = translate.words(await _made(surface, who, order))
        return GptAnswer(response=written.text, reply=written.text, usage=written.usage)

    return router


async def _made(surface: Surface, who: Caller, order: Order) -> Generation:
    return await surface.commands.create_and_wait(surface.verdicts, who, order)


def _addresses(surface: Surface, generation: Generation) -> list[str]:
    """Raises Refusal: it ended otherwise, or has not ended yet."""
    return [surface.address(asset.key, visibility=generation.visibility) for asset in delivered(generation).assets]


def _submitted(surface: Surface, generation: Generation) -> Document:
    place = f"{surface.addresses.public_url.rstrip('/')}{PREFIX}/process-image-pipeline/requests/{generation.id}"
    return {
        "success": True,
        "requestId": str(generation.id),
        "statusUrl": f"{place}/status",
        "responseUrl": place,
        "status": "IN_QUEUE",
    }


async def _looked_at(surface: Surface, who: Caller, body: ProcessImagePipeline) -> Document:
    is_status = body.action == "status"
    generation_id = function_orders.id_in(body.statusUrl if is_status else body.responseUrl)
    generation = await surface.queries.generation(who, generation_id)
    if generation.kind is not Kind.IMAGE:
        raise NotFound("There is no such image.")
    if not is_status:
        found = _addresses(surface, generation)
        return {"success": True, "images": [{"url": url} for url in found], "image_url": found[0]}
    failure = generation.outcome.data.failure if generation.outcome else None
    return {
        **_submitted(surface, generation),
        "status": _STATES.get(generation.status, "ERROR"),
        "error": failure.message if failure else None,
    }


def _units(amount: float | int | str | None) -> int:
    """Raises Invalid for what is no number of credits."""
    try:
        units = to_units(str(amount))
    except ValueError as error:
        raise Invalid("amount: credits, with four decimal places at most") from error
    if units <= 0:
        raise Invalid("amount: more than nothing")
    return units


def _consumed(taken: Consumption) -> CreditsConsumed:
    left = in_credits(taken.available)
    return CreditsConsumed(remaining_credits=left, creditsRemaining=left, creditsConsumed=in_credits(taken.required))


def _price(body: CreatePaymentIntent, currency: str | None) -> int | None:
    """In minor units. Raises Invalid for a fraction of one, and for more than a payment can be of."""
    if body.amount is None:
        return None
    exact = Decimal(str(body.amount))
    price = exact if body.planId is not None or body.credits is not None else exact * minor_units(currency)
    if price != int(price):
        raise Invalid("amount: whole cents")
    if price > MAX_PRICE:
        raise Invalid(f"amount: at most {MAX_PRICE / minor_units(currency):,}")
    return int(price)

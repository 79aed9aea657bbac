"""What others tell us over HTTP: bytes as they came, signed by who wrote them, and no token."""

from fastapi import APIRouter, Request, Response

from contracts.payments import (
    MAX_PAYMENT_EVENT_BYTES,
)
from gateway.dialects.native import errors, translate
from gateway.dialects.surface import Surface, route_class


def make_router(surface: Surface) -> APIRouter:
    """The addresses that an operator gives to others; no client calls them, so no description names them."""
    router = APIRouter(prefix="/webhooks", route_class=route_class(errors.render), include_in_schema=False)

    @router.post("/stripe")
    async def stripe(request: Request) -> Response:
        body = await translate.raw_body(request, MAX_PAYMENT_EVENT_BYTES)
        verdict = await surface.payments.hand_on(body, request.headers.get("stripe-signature", ""))
        return Response(verdict.model_dump_json(), media_type="application/json")

    return router

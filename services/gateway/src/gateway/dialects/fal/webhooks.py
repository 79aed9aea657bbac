"""What fal's queue tells the address that a request named, signed by a key whose public half anybody may read."""

import base64
from dataclasses import replace
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from gateway.dialects.fal import translate
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import NotFound, Refusal
from gateway.repeats import Repeat
from gateway.webhooks.endpoints import EVENTS
from gateway.webhooks.signing import deployment_key
from gateway.webhooks.styles import Style
from runtime.database import Row

STYLE = translate.DIALECT


def told(surface: Surface, caller: Caller, order: Order, url: str) -> Order:
    """The order whose end is told to an address. Raises Invalid: it will not be called. NotConfigured."""
    beside = surface.webhooks.beside(caller, url, STYLE, EVENTS)
    return replace(order, beside=beside, remarks={"webhook": url})


def repeat(surface: Surface) -> Repeat:
    """What is made again is told to the same address."""

    async def again(caller: Caller, _: Generation, order: Order) -> Order:
        url = order.remarks.get("webhook")
        return order if url is None else told(surface, caller, order, url)

    return again


def style(surface: Surface) -> Style:
    def body(_: Row, generation: Generation | None) -> dict[str, Any]:
        if generation is None:
            raise NotFound("There is no such request.")
        said = {"request_id": str(generation.id), "gateway_request_id": str(generation.id)}
        try:
            return said | {"status": "OK", "payload": translate.result(surface, generation)}
        except Refusal as refusal:
            return said | {"status": "ERROR", "error": refusal.message, "payload": {"detail": refusal.message}}

    return Style(body, _headers)


def key_set(public_key: bytes) -> dict[str, Any]:
    """A JWKS of one key (RFC 8037)."""
    x = base64.urlsafe_b64encode(public_key).rstrip(b"=").decode()
    kid = sha256(public_key).hexdigest()[:16]
    return {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x}]}


def _headers(key: SecretStr, row: Row, sent_at: int, content: bytes) -> dict[str, str]:
    said = [str(row.generation_id), str(row.user_id), str(sent_at)]
    signed = deployment_key(key).sign("\n".join([*said, sha256(content).hexdigest()]).encode())
    names = ("Request-Id", "User-Id", "Timestamp", "Signature")
    return {f"X-Fal-Webhook-{name}": value for name, value in zip(names, [*said, signed.hex()], strict=True)}

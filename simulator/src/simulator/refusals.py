"""Answers that say no, before a vendor words them."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import web

from simulator.faults import Wish

if TYPE_CHECKING:
    from simulator.calls import Vendor


class Refusal(Exception):
    """`kind` is the vendor's `type` field."""

    def __init__(self, status: int, code: str | None, message: str, param: str | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.kind = status, code, message, param, kind


def bearer_key(request: web.Request, vendor: Vendor) -> str:
    """The API key. Raises Refusal 401."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise vendor.refusal("401", "")
    return key.strip()


def retry_headers(wish: Wish, now: float) -> dict[str, str]:
    """What a rate limit says about waiting, in the form the fault asks for."""
    match wish.fault.name:
        case "429" | "429-absurd":
            return {"Retry-After": wish.value}
        case "429-date":
            return {"Retry-After": formatdate(now + wish.number, usegmt=True)}
        case "429-ms":
            return {"Retry-After-Ms": wish.value}
        case _:
            return {}


def bad_gateway_page(headers: dict[str, str]) -> web.Response:
    """What stands between the client and the vendor speaks HTML."""
    page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    return web.Response(status=502, text=page, content_type="text/html", headers=headers)

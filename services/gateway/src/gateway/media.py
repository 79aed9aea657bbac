"""`/media/…` on the gateway leads to storage, and with a token on to what only its user may see."""

from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from contracts.facts import Visibility
from contracts.media import PATH, address
from gateway.identity import Identity
from gateway.refusals import Refusal
from gateway.settings import AddressSettings

LIFETIME_SECONDS = 300
"""Long enough to be followed; with a token there is always another."""


def make_redirect(addresses: AddressSettings, identity: Identity) -> Any:
    """A route's endpoint. A token that is not believed opens nothing, and takes nothing away that needs none."""
    base = addresses.public_media_url.rstrip("/")
    key = addresses.key_for(Visibility.OWNER)

    async def redirect(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        plain = RedirectResponse(f"{base}{request.url.path}{query}", 307)
        if key is None or "authorization" not in request.headers or "signature" in request.query_params:
            return plain
        try:
            caller = await identity.required(request)
        except Refusal:
            return plain
        path = request.url.path.removeprefix(PATH)
        download = request.query_params.get("download") == "1"
        signed = address(base, path, key, LIFETIME_SECONDS, download=download, reader=caller.user_id)
        return RedirectResponse(signed, 307, {"Cache-Control": "private, no-store"})

    return redirect

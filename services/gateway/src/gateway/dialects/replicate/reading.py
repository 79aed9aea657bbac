"""Who may read a stream: whoever may read the prediction, and whoever holds the address that it names for that.

Neither Replicate's client for Node nor a browser's EventSource sends a token there.
"""

import re
import time
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request

from contracts.media import signature, signed
from gateway.dialects.replicate.models import PREFIX
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.records import Generation
from gateway.refusals import Unauthenticated
from gateway.streaming import Still

STREAM_SECONDS = 3600
"""How long such an address opens a stream, and keeps it open."""
_EXPIRES = re.compile(r"[0-9]{1,12}")


def stream_address(surface: Surface, generation: Generation) -> str:
    """Signed for this prediction and its owner, where the operator has set MEDIA_SIGNING_KEY."""
    path, key = _path(generation.id), surface.addresses.media_signing_key
    address = f"{surface.addresses.public_url.rstrip('/')}{path}"
    if key is None:
        return address
    expires, reader = int(time.time()) + STREAM_SECONDS, str(generation.user_id)
    sign = signature(path, expires, key.get_secret_value(), reader)
    return f"{address}?{urlencode({'expires': expires, 'signature': sign, 'reader': reader})}"


async def reader_of(surface: Surface, request: Request, prediction_id: UUID) -> tuple[Caller, Still]:
    """Who reads it, and how to ask later whether they still may. A token counts where there is one: an address lives on
    when that is revoked.

    Raises:
        Unauthenticated: neither a token nor an address that is signed and alive.
    """
    caller = await surface.identity.caller(request)
    if caller is not None or "signature" not in request.query_params:
        caller = await surface.identity.required(request)
        return caller, lambda: surface.identity.still(request)

    async def still() -> None:
        _signed_for(surface, request, prediction_id)

    return _signed_for(surface, request, prediction_id), still


def _signed_for(surface: Surface, request: Request, prediction_id: UUID) -> Caller:
    """Raises Unauthenticated."""
    key, given = surface.addresses.media_signing_key, request.query_params
    expires, sign, reader = (given.get(name, "") for name in ("expires", "signature", "reader"))
    is_whole = _EXPIRES.fullmatch(expires) is not None and sign.isascii()
    path = _path(prediction_id)
    if key is None or not is_whole or not signed(path, int(expires), sign, key.get_secret_value(), reader):
        raise Unauthenticated("This address opens nothing, or not any more: ask for the prediction.")
    return Caller(UUID(reader))


def _path(prediction_id: UUID) -> str:
    return f"{PREFIX}/predictions/{prediction_id}/stream"

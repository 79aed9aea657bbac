"""The seed's error shape under /api/v1, its client's on the other routes, and that of the functions."""

import json

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal

_CODES = {
    "model_not_found": ("INVALID_MODEL", 400),
    **{word: (word, 400) for word in ("authorization_pending", "slow_down", "access_denied", "expired_token")},
    **{word: (word.upper(), 400) for word in ("no_such_pack", "price_mismatch", "currency_mismatch")},
}
"""Where the seed, or RFC 8628, has a word or a status of its own."""


def code_of(refusal: Refusal) -> tuple[str, int]:
    """The seed's word for a refusal, and its status."""
    return _CODES.get(refusal.code, (refusal.code.upper(), refusal.status))


def render(refusal: Refusal) -> JSONResponse:
    """Of `/api/v1`: `{error, message, code, details}`, the last an object."""
    word, status = code_of(refusal)
    body = {
        "error": word,
        "message": refusal.message,
        "detail": refusal.message,
        "code": status,
        "details": refusal.details,
    }
    return JSONResponse(body, status, refusal.headers)


def render_client(refusal: Refusal) -> JSONResponse:
    """Of the client's own routes, whose `details` is shown to people; `id` is that of what is there all the same."""
    word, status = code_of(refusal)
    body: dict[str, object] = {
        "status": "error",
        "error": refusal.message,
        "message": refusal.message,
        "detail": refusal.message,
        "details": refusal.message,
        "code": word,
    }
    if "id" in refusal.details:
        body["id"] = refusal.details["id"]
    return JSONResponse(body, status, refusal.headers)


def render_function(refusal: Refusal) -> JSONResponse:
    """Of `/functions/v1`: `success` is false, and what is missing stands beside it."""
    word, status = code_of(refusal)
    body = {
        "success": False,
        "error": refusal.message,
        "message": refusal.message,
        "detail": refusal.message,
        "code": word,
        **refusal.details,
    }
    return JSONResponse(body, status, refusal.headers)


def frame(refusal: Refusal) -> str:
    """A refusal in a stream that has begun."""
    word, status = code_of(refusal)
    return json.dumps({"error": word, "message": refusal.message, "code": status, "details": refusal.details})

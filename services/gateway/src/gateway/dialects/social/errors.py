"""The seed's error shape: every text is a string, and what a validator found is a list of strings."""

from typing import Any

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal

RETRY_SECONDS = 30
"""When to ask again, where nothing more is known."""
_PASSES = frozenset({429, 503})


def render(refusal: Refusal) -> JSONResponse:
    """The frontend knows 400 alone for what a validator refuses."""
    status = 400 if refusal.status == 422 else refusal.status
    headers = dict(refusal.headers)
    if status in _PASSES:
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    retry_after = headers.get("Retry-After")
    body = {
        "success": False,
        "error": refusal.message,
        "code": refusal.code,
        "message": refusal.message,
        "detail": refusal.message,
        "statusCode": status,
        "retryAfter": int(retry_after) if retry_after else None,
        "validationErrors": _found(refusal.details.get("errors")),
        **{name: value for name, value in refusal.details.items() if name != "errors"},
    }
    return JSONResponse(body, status, headers)


def _found(errors: Any) -> list[str]:
    return [f"{error['field']}: {error['message']}" for error in errors or []]

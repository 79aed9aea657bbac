"""OpenAI's error object, its statuses, and whether its SDKs are to try again.

Their SDKs repeat every 408, 409, 429 and 5xx by themselves, without an Idempotency-Key: what would fail again, or be
made a second time, says `x-should-retry: false`, which they obey.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi.responses import JSONResponse

from gateway.dialects.surface import Render
from gateway.refusals import Refusal

INVALID, QUOTA, PACE, SERVER = "invalid_request_error", "insufficient_quota", "requests", "server_error"


@dataclass(frozen=True, slots=True)
class _Said:
    """How OpenAI says it; None: as everywhere."""

    status: int | None = None
    type: str = INVALID
    code: str | None = None


_NO_CREDITS = _Said(429, QUOTA, "insufficient_quota")
_TOO_FAST = _Said(429, PACE, "rate_limit_exceeded")
_SAID = {
    "unauthenticated": _Said(401, INVALID, "invalid_api_key"),
    "scope_missing": _Said(403, INVALID, "insufficient_permissions"),
    "insufficient_credits": _NO_CREDITS,
    "daily_cap_reached": _NO_CREDITS,
    "spend_cap_reached": _NO_CREDITS,
    "too_many_requests": _TOO_FAST,
    "provider_throttled": _TOO_FAST,
    "model_not_found": _Said(404, INVALID, "model_not_found"),
    "content_policy": _Said(400, INVALID, "content_policy_violation"),
    "idempotency_mismatch": _Said(422),
}
_FINAL = frozenset(
    {"insufficient_credits", "daily_cap_reached", "spend_cap_reached", "still_running", "not_heard", "not_read"}
)
"""Asked again at once, it ends the same way, or is made and paid a second time."""
_FINAL_STATUSES = frozenset({409, 501})
_NAMES = {"count": "n", "inputs": "image"}
"""Ours → OpenAI's, where an order has another name for a parameter."""


def renderer(names: Mapping[str, str]) -> Render:
    """For routes that have names of their own for what is wrong."""
    known = {**_NAMES, **names}

    def render_with(refusal: Refusal) -> JSONResponse:
        said = _SAID.get(refusal.code, _Said())
        # What is wrong in a request is 400 there, whatever it is.
        status = said.status or (400 if refusal.status == 422 else refusal.status)
        headers = dict(refusal.headers)
        if refusal.code in _FINAL or status in _FINAL_STATUSES:
            headers["x-should-retry"] = "false"
        return JSONResponse({"error": error_of(refusal, known)}, status, headers)

    return render_with


render = renderer({})


def error_of(refusal: Refusal, names: Mapping[str, str] = _NAMES) -> dict[str, str | None]:
    """The error object, as it also stands in streams."""
    said = _SAID.get(refusal.code)
    kind = said.type if said else SERVER if refusal.status >= 500 else INVALID
    code = (said and said.code) or refusal.code
    return {"message": refusal.message, "type": kind, "param": _param(refusal, names), "code": code}


def _param(refusal: Refusal, names: Mapping[str, str]) -> str | None:
    if refusal.code == "model_not_found":
        return "model"
    errors = refusal.details.get("errors")
    if not isinstance(errors, list) or not errors:
        return None
    field = str(errors[0]["field"])
    return names.get(field.partition(".")[0], field)

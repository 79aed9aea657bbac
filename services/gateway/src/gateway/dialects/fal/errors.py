"""fal's errors: a `detail`, and a word for programs in the body and in a header."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal, TimedOut

IN_PROGRESS = "request_in_progress"
REQUEST_ID = "X-Fal-Request-Id"
"""The client for Node reads there whose result it is."""
_WHY, _WHOSE_TIMEOUT = "X-Fal-Error-Type", "X-Fal-Request-Timeout-Type"
_NOT_AGAIN = {_WHOSE_TIMEOUT: "user"}
"""With 504: it is final. Clients would ask again, and have another made."""
NAMES = (REQUEST_ID, _WHY, _WHOSE_TIMEOUT)
"""What a browser may read."""


def render(refusal: Refusal) -> JSONResponse:
    body = {"detail": refusal.message, "error_type": refusal.code}
    headers = {**refusal.headers, _WHY: refusal.code}
    if refusal.status == TimedOut.status:
        headers |= _NOT_AGAIN
    return JSONResponse(body, refusal.status, headers)

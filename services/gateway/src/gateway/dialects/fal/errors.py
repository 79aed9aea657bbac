"""fal's errors: a `detail`, and a word for programs in the body and in a header."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal, TimedOut

IN_PROGRESS = "request_in_progress"
_NOT_AGAIN = {"X-Fal-Request-Timeout-Type": "user"}
"""With 504: it is final. Clients would ask again, and have another made."""


def render(refusal: Refusal) -> JSONResponse:
    body = {"detail": refusal.message, "error_type": refusal.code}
    headers = {**refusal.headers, "X-Fal-Error-Type": refusal.code}
    if refusal.status == TimedOut.status:
        headers |= _NOT_AGAIN
    return JSONResponse(body, refusal.status, headers)

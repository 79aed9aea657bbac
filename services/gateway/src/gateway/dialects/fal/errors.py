"""fal's errors: a `detail`, and a word for programs in the body and in a header."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal

IN_PROGRESS = "request_in_progress"


def render(refusal: Refusal) -> JSONResponse:
    body = {"detail": refusal.message, "error_type": refusal.code}
    return JSONResponse(body, refusal.status, {**refusal.headers, "X-Fal-Error-Type": refusal.code})

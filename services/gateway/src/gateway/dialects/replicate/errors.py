"""Replicate's errors: RFC 7807 with `title`, `detail` and `status`."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal


def render(refusal: Refusal) -> JSONResponse:
    body = {"title": refusal.title, "detail": refusal.message, "status": refusal.status}
    return JSONResponse(body, refusal.status, refusal.headers)

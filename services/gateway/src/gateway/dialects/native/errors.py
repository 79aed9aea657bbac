"""RFC 9457: `application/problem+json`."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal

TYPE_PREFIX = "urn:darkroom:problem:"


def render(refusal: Refusal) -> JSONResponse:
    body = {
        "type": TYPE_PREFIX + refusal.code,
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        **refusal.details,
    }
    return JSONResponse(body, refusal.status, refusal.headers, media_type="application/problem+json")

"""The seed's error shape: a string `error`; `message` and `detail` beside it for clients that look there."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal


def render(refusal: Refusal) -> JSONResponse:
    body = {
        "error": refusal.message,
        "message": refusal.message,
        "detail": refusal.message,
        "code": refusal.code,
        **refusal.details,
    }
    return JSONResponse(body, refusal.status, refusal.headers)


def render_test(refusal: Refusal) -> JSONResponse:
    """The connection test's shape. The client takes every 2xx for a success, so a failure is none."""
    body = {"success": False, "error": f"API Error: {refusal.message} (Status: {refusal.status})", **refusal.details}
    return JSONResponse(body, refusal.status, refusal.headers)

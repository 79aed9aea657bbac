"""The frontend reads `message`, some of its pages `error` or `detail`: all are strings."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal


def render(refusal: Refusal) -> JSONResponse:
    body = {
        "success": False,
        "error": refusal.message,
        "message": refusal.message,
        "detail": refusal.message,
        "code": refusal.code,
        "statusCode": refusal.status,
    }
    return JSONResponse(body, refusal.status, refusal.headers)

"""The seed's error shape: `message`, `statusCode` and `error`; `detail` beside them, where the client looks first."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal


def render(refusal: Refusal) -> JSONResponse:
    body = {
        "message": refusal.message,
        "statusCode": refusal.status,
        "error": refusal.message,
        "detail": refusal.message,
        "code": refusal.code,
        **refusal.details,
    }
    return JSONResponse(body, refusal.status, refusal.headers)

"""GoTrue's error shape: `code` is the status, `error_code` is for programs, `msg` for people."""

from fastapi.responses import JSONResponse

from gateway.refusals import Invalid, MalformedBody, NotConfigured, NotFound, Refusal, TooManyRequests, Unauthenticated
from gateway.tokens import RefreshRefused
from gateway.users import EmailNotConfirmed, EmailTaken, WeakPassword, WrongCredentials


class NotAdmin(Refusal):
    """Only a service's key may do this."""

    status = 403
    code = "not_admin"


class UserGone(Refusal):
    """The token is good, and its user or session is not there."""

    status = 403
    code = "user_not_found"


_WORDS: tuple[tuple[type[Refusal], int, str], ...] = (
    (RefreshRefused, 400, "refresh_token_not_found"),
    (WrongCredentials, 400, "invalid_credentials"),
    (EmailNotConfirmed, 400, "email_not_confirmed"),
    (EmailTaken, 422, "user_already_exists"),
    (WeakPassword, 422, "weak_password"),
    (TooManyRequests, 429, "over_request_rate_limit"),
    (Unauthenticated, 401, "no_authorization"),
    (MalformedBody, 400, "bad_json"),
    (Invalid, 400, "validation_failed"),
    (NotConfigured, 501, "not_configured"),
    (NotFound, 404, "user_not_found"),
)
"""The first that fits; GoTrue's words for our refusals."""


def render(refusal: Refusal) -> JSONResponse:
    status, word = next(
        ((status, word) for kind, status, word in _WORDS if isinstance(refusal, kind)), (refusal.status, refusal.code)
    )
    message = refusal.message
    if isinstance(refusal, RefreshRefused):
        message = "Invalid Refresh Token: Refresh Token Not Found"
    body = {"code": status, "error_code": word, "msg": message, "error": message, "message": message, "detail": message}
    if isinstance(refusal, WeakPassword):
        body["weak_password"] = {"reasons": ["length"]}
    return JSONResponse(body, status, refusal.headers)

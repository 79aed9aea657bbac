"""Why a request is not carried out. Each dialect says it in its own shape; nothing has changed when one is raised."""

from typing import Any
from uuid import UUID

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from contracts.facts import Failure


class Refusal(Exception):
    """A clear no.

    `code` is for programs, the message for people. `details` are facts that a client can act on.
    """

    status = 400
    code = "invalid_request"
    title = "The request cannot be carried out"

    def __init__(
        self, message: str, *, details: dict[str, object] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = _sayable(message)
        self.details: dict[str, object] = _sayable(details or {})
        self.headers = headers or {}


def _sayable(value: Any) -> Any:
    """What is repeated of a request may hold half of a surrogate pair, which no answer can: it is said by number."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_sayable(name): _sayable(part) for name, part in value.items()}
    return [_sayable(part) for part in value] if isinstance(value, list) else value


class MalformedBody(Refusal):
    code = "malformed_body"
    title = "The body is not valid JSON"


class MalformedForm(Refusal):
    code = "malformed_body"
    title = "The body is not a valid form"


class UnsupportedMedia(Refusal):
    status = 415
    code = "unsupported_media"
    title = "Files of this kind are not taken"


class UnusableMedia(Refusal):
    status = 422
    code = "unusable_media"
    title = "The file is broken or goes too far"


class NotClean(Refusal):
    status = 422
    code = "not_clean"
    title = "The file did not pass the scan"


class FileTooLarge(Refusal):
    status = 413
    code = "too_large"
    title = "The file is too large"


class QuotaExceeded(Refusal):
    status = 403
    code = "quota_exceeded"
    title = "There is no room for more"


class InvalidKey(Refusal):
    code = "invalid_idempotency_key"
    title = "The Idempotency-Key cannot be used"


class Unauthenticated(Refusal):
    status = 401
    code = "unauthenticated"
    title = "A valid bearer token is needed"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class ScopeMissing(Refusal):
    status = 403
    code = "scope_missing"
    title = "The key may not do this"


class OperatorsOnly(Refusal):
    status = 403
    code = "operators_only"
    title = "Only operators may do this"


class SignatureRefused(Refusal):
    """Before anybody's token is looked at; or the same signature once more."""

    status = 401
    code = "signature_refused"
    title = "The request is not signed as it has to be"


class InsufficientCredits(Refusal):
    """`details` has `required` and `available`, in credits."""

    status = 402
    code = "insufficient_credits"
    title = "Not enough credits"


class NotFound(Refusal):
    status = 404
    code = "not_found"
    title = "There is no such thing"


class PaymentsNotOffered(Refusal):
    status = 404
    code = "payments_not_offered"
    title = "Nothing can be paid for here"


class WebhookRefused(Refusal):
    code = "webhook_refused"
    title = "The webhook is not to be believed"


class AlreadyFinished(Refusal):
    status = 409
    code = "already_finished"
    title = "The generation has ended already"


class UsernameTaken(Refusal):
    status = 409
    code = "username_taken"
    title = "Somebody else has this name"


class ShownOnce(Refusal):
    status = 409
    code = "shown_once"
    title = "It was made before, and its secret is shown once"


class NotFinished(Refusal):
    status = 409
    code = "not_finished"
    title = "The generation has not ended yet"


class StaleVersion(Refusal):
    """`details` has the `version` that there is."""

    status = 409
    code = "stale_version"
    title = "It was changed meanwhile"


class Gone(Refusal):
    status = 410
    code = "deleted"
    title = "It was deleted"


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"
    title = "The body is too large"


class UnsupportedMediaType(Refusal):
    status = 415
    code = "unsupported_media_type"
    title = "The body has to be JSON"


class Invalid(Refusal):
    """`details` may have `errors`: a list of `{field, message}`."""

    status = 422
    code = "invalid_request"
    title = "The request is not valid"


class UnknownModel(Refusal):
    status = 422
    code = "model_not_found"
    title = "There is no such model"


class InputNotFound(Refusal):
    """`details` may have `errors`: a list of `{field, message}`."""

    status = 422
    code = "input_not_found"
    title = "There is no such media to start from"


class IdempotencyMismatch(Refusal):
    status = 422
    code = "idempotency_mismatch"
    title = "The Idempotency-Key was used for another request"


class TooManyRequests(Refusal):
    status = 429
    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})


class DailyCapReached(TooManyRequests):
    """`details` has `required` and `left_today`, in credits. The day ends at 0:00 UTC."""

    code = "daily_cap_reached"
    title = "The day's limit is reached"

    def __init__(self, message: str, retry_after_seconds: int, details: dict[str, object]) -> None:
        super().__init__(message, retry_after_seconds)
        self.details = details


class SpendCapReached(TooManyRequests):
    """`details` has `required`, in credits. Days and months end at 0:00 UTC."""

    code = "spend_cap_reached"
    title = "The key's spend cap is reached"


class VerificationNeeded(Refusal):
    """`details` has `required`, in credits."""

    status = 403
    code = "verification_needed"
    title = "Only users whose e-mail address was verified may do this"


class SwitchedOff(Refusal):
    status = 503
    code = "switched_off"
    title = "The operator has switched this off"


class NotConfigured(Refusal):
    status = 501
    code = "not_configured"
    title = "This is not set up here"


class TextChanged(Refusal):
    """It is made and stored; what was said of it meanwhile is not how it begins."""

    status = 502
    code = "text_changed"
    title = "The text was written anew"

    def __init__(self, generation_id: UUID) -> None:
        super().__init__(f"It was written anew: GET /v1/generations/{generation_id}")


class Unavailable(Refusal):
    """Nothing was recorded; the same request may be sent again."""

    status = 503
    code = "unavailable"
    title = "Darkroom cannot answer right now"

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})


class NotRead(Refusal):
    """What was made is stored; whoever asks for it again must not have it made again."""

    status = 503
    code = "not_read"
    title = "What is stored cannot be read right now"


class TimedOut(Refusal):
    """The generation goes on; the Location header says where to look."""

    status = 504
    code = "still_running"
    title = "The generation is still running"


class NotHeard(Refusal):
    """Whether it was recorded is not known: under the same Idempotency-Key it is once, and found again."""

    status = 504
    code = "not_heard"
    title = "Whether it was recorded is not known"


class Defect(Refusal):
    status = 500
    code = "internal_error"
    title = "Something went wrong"


_BY_STATUS: dict[int, type[Refusal]] = {400: MalformedBody, 404: NotFound, 413: BodyTooLarge, 415: UnsupportedMediaType}


def refusal_of(error: HTTPException) -> Refusal:
    """What the framework refused, in our words."""
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # as `Straight` answers it, of which the framework's routes know nothing
    refusal = _BY_STATUS.get(error.status_code, Refusal)(str(error.detail), headers=headers)
    refusal.status = error.status_code
    return refusal


_OF_UPLOADS: dict[str, type[Refusal]] = {
    refusal.code: refusal
    for refusal in (UnsupportedMedia, UnusableMedia, NotClean, FileTooLarge, QuotaExceeded, NotFound)
} | {"another_file": IdempotencyMismatch}


def refusal_of_upload(failure: Failure) -> Refusal:
    """What storage refused, in our words; what is new to us is taken for something that passes."""
    refusal = _OF_UPLOADS.get(failure.code)
    return Unavailable(failure.message) if refusal is None else refusal(failure.message)


def plain(refusal: Refusal) -> JSONResponse:
    """The shape for paths outside every dialect: each known frontend finds the string that it looks for."""
    body = {
        "error": refusal.message,
        "message": refusal.message,
        "detail": refusal.message,
        "code": refusal.code,
        "statusCode": refusal.status,
    }
    return JSONResponse(body, refusal.status, refusal.headers)

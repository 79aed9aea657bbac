"""What a gateway refuses, each code as an exception of its own (docs/problems.md)."""

import json
from typing import Any, ClassVar


class ApiError(Exception):
    """It was not done; the message is for people."""


class UnreachableError(ApiError):
    """No answer came. Whether something was done is not known; what has an Idempotency-Key can be asked again."""

    def __init__(self, url: str, error: Exception) -> None:
        super().__init__(f"The gateway at {url} does not answer: {str(error) or type(error).__name__}.")


class ClosedError(RuntimeError):
    """The client was closed before it was asked."""

    def __init__(self) -> None:
        super().__init__("The client is closed.")


class ElsewhereError(RuntimeError):
    """Its connections are of another process, or of another event loop; here a client of one's own is needed."""

    def __init__(self) -> None:
        super().__init__("The client belongs to another process or event loop: make one here.")


class Refused(ApiError):
    """A clear no. Nothing has changed, unless the code says so.

    `code` is None where it was not the gateway that answered. `details` are what else the answer says.
    """

    code: ClassVar[str | None] = None

    def __init__(self, status: int, details: dict[str, Any], retry_after_seconds: float | None = None) -> None:
        super().__init__(_words(status, details))
        self.status = status
        self.details = details
        self.retry_after_seconds = retry_after_seconds

    def __init_subclass__(cls) -> None:
        _BY_CODE[cls.__dict__["code"]] = cls


_BY_CODE: dict[str, type[Refused]] = {}


class InvalidRequest(Refused):
    """`details["errors"]` lists `{field, message}`."""

    code = "invalid_request"


class ModelNotFound(Refused):
    code = "model_not_found"


class InputNotFound(Refused):
    code = "input_not_found"


class IdempotencyMismatch(Refused):
    code = "idempotency_mismatch"


class MalformedBody(Refused):
    code = "malformed_body"


class InvalidIdempotencyKey(Refused):
    code = "invalid_idempotency_key"


class Unauthenticated(Refused):
    code = "unauthenticated"


class ScopeMissing(Refused):
    code = "scope_missing"


class OperatorsOnly(Refused):
    code = "operators_only"


class InsufficientCredits(Refused):
    """`details` has `required` and `available`, in credits."""

    code = "insufficient_credits"


class NotFound(Refused):
    code = "not_found"


class AlreadyFinished(Refused):
    code = "already_finished"


class NotFinished(Refused):
    code = "not_finished"


class Deleted(Refused):
    code = "deleted"


class ShownOnce(Refused):
    """It was made under the same Idempotency-Key, and its secret is shown to nobody again."""

    code = "shown_once"


class QuotaExceeded(Refused):
    code = "quota_exceeded"


class BodyTooLarge(Refused):
    code = "body_too_large"


class TooLarge(Refused):
    code = "too_large"


class UnsupportedMedia(Refused):
    code = "unsupported_media"


class UnsupportedMediaType(Refused):
    code = "unsupported_media_type"


class UnusableMedia(Refused):
    code = "unusable_media"


class NotClean(Refused):
    code = "not_clean"


class TooManyRequests(Refused):
    code = "too_many_requests"


class DailyCapReached(TooManyRequests):
    """`details` has `required` and `left_today`, in credits."""

    code = "daily_cap_reached"


class SpendCapReached(TooManyRequests):
    code = "spend_cap_reached"


class InternalError(Refused):
    code = "internal_error"


class NotConfigured(Refused):
    code = "not_configured"


class Unavailable(Refused):
    """Nothing was recorded."""

    code = "unavailable"


class StillRunning(Refused):
    """It was accepted and goes on."""

    code = "still_running"


class NotHeard(Refused):
    """Whether it was recorded is not known: under the same Idempotency-Key it is once."""

    code = "not_heard"


def refused(status: int, text: str, retry_after: str | None) -> Refused:
    """The exception of an answer, whatever shape that has."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    details = body if isinstance(body, dict) else {}
    seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdecimal() else None
    code = details.get("code")
    return (_BY_CODE.get(code, Refused) if isinstance(code, str) else Refused)(status, details, seconds)


def _words(status: int, body: dict[str, Any]) -> str:
    error = body.get("error")
    words = body.get("detail") or (error.get("message") if isinstance(error, dict) else error) or body.get("title")
    lines = [str(words or f"The gateway answered {status}.")]
    if status == 402 and "required" in body:
        lines.append(f"Required: {body['required']} credits, available: {body.get('available')}.")
    errors = body.get("errors")
    faults = [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else []
    lines += [f"  {fault.get('field', '?')}: {fault.get('message', '')}" for fault in faults]
    return "\n".join(lines)

"""What every endpoint of OpenAI may say: refusals, wrong fields, headers (providers.md §2)."""

from __future__ import annotations

from typing import Any

from simulator.fields import InvalidFieldError
from simulator.refusals import Refusal

_INVALID_REQUEST = "invalid_request_error"

_REFUSALS: dict[str, tuple[int, str | None, str, str]] = {
    "401": (401, "invalid_api_key", "The API key is missing or incorrect.", _INVALID_REQUEST),
    "403": (403, "unsupported_country_region_territory", "The request is not allowed here.", "request_forbidden"),
    "404": (
        404,
        "model_not_found",
        "The model `{model}` does not exist or you have no access to it.",
        _INVALID_REQUEST,
    ),
    "413": (413, "request_too_large", "The request body is too large.", _INVALID_REQUEST),
    "422": (422, "unprocessable_entity", "The request cannot be processed.", _INVALID_REQUEST),
    "moderated": (
        400,
        "moderation_blocked",
        "The request was rejected by the safety system.",
        "image_generation_user_error",
    ),
    "moderated-output": (
        400,
        "moderation_blocked",
        "The picture was rejected by the safety system.",
        "image_generation_user_error",
    ),
    "429": (429, "rate_limit_exceeded", "Rate limit reached for images per minute.", "requests"),
    "quota": (
        429,
        "insufficient_quota",
        "The current quota is exceeded; check plan and billing.",
        "insufficient_quota",
    ),
    "500": (500, None, "The server had an error while processing the request.", "server_error"),
    "502": (502, None, "Bad gateway.", "server_error"),
    "503": (503, None, "The engine is overloaded, try again later.", "server_error"),
    "504": (504, None, "The server did not answer in time.", "server_error"),
}
_KINDS = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{field}'."),
    "unknown": ("unknown_parameter", "Unknown parameter: '{field}'."),
    "type": ("invalid_type", "Invalid type for '{field}': it {reason}."),
    "value": ("invalid_value", "Invalid value for '{field}': it {reason}."),
}


class OpenAIWords:
    def __init__(self, provider: str = "openai") -> None:
        self.provider = provider

    def invalid(self, error: InvalidFieldError) -> Refusal:
        code, message = _KINDS[error.kind]
        return Refusal(400, code, message.format(field=error.field, reason=error.reason), error.field, _INVALID_REQUEST)

    def refusal(self, fault: str, model: str) -> Refusal:
        name = "moderated" if fault == "fail-every" else "429" if fault.startswith("429") else fault
        status, code, message, kind = _REFUSALS[name]
        if name.startswith("moderated") and model.startswith("dall-e"):
            code, kind = "content_policy_violation", _INVALID_REQUEST
        return Refusal(status, code, message.format(model=model), None, kind)

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {
            "error": {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
        }

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {
            "x-request-id": f"req_{request_id}",
            "openai-processing-ms": str(round(seconds * 1000)),
            "openai-version": "2020-10-01",
            "openai-organization": "simulator",
        }

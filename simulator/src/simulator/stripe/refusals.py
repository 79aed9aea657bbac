"""How Stripe says no: `{"error": {type, code, message, param, …}}`."""

from __future__ import annotations

from typing import Any

from simulator.fields import InvalidFieldError

INVALID = "invalid_request_error"


class StripeRefusal(Exception):
    """`more` are further fields of the error object."""

    def __init__(
        self, status: int, kind: str, code: str | None, message: str, param: str | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.code, self.message, self.param, self.more = (
            status,
            kind,
            code,
            message,
            param,
            more,
        )

    def body(self) -> dict[str, Any]:
        error = {"type": self.kind, "code": self.code, "message": self.message, "param": self.param, **self.more}
        return {"error": {name: value for name, value in error.items() if value is not None}}


def missing(name: str, identifier: str) -> StripeRefusal:
    return StripeRefusal(404, INVALID, "resource_missing", f"No such {name}: '{identifier}'", "id")


def invalid_field(error: InvalidFieldError) -> StripeRefusal:
    name = error.field.replace(".", "[", 1) + "]" if "." in error.field else error.field
    match error.kind:
        case "missing":
            return StripeRefusal(400, INVALID, "parameter_missing", f"Missing required param: {name}.", name)
        case "unknown":
            return StripeRefusal(400, INVALID, "parameter_unknown", f"Received unknown parameter: {name}", name)
        case "type" if "integer" in error.reason:
            return StripeRefusal(400, INVALID, "parameter_invalid_integer", f"Invalid integer: {name}", name)
        case _:
            return StripeRefusal(400, INVALID, None, f"Invalid {name}: it {error.reason}", name)


def of_fault(name: str) -> StripeRefusal:
    """What an asked-for fault looks like here."""
    if name == "401":
        return StripeRefusal(401, INVALID, "api_key_expired", "Expired API Key provided.")
    if name.startswith("429"):
        return StripeRefusal(429, INVALID, "rate_limit", "Too many requests hit the API too quickly.")
    status = int(name) if name.isdigit() and int(name) >= 500 else 500
    return StripeRefusal(status, "api_error", None, "An unknown error occurred.")

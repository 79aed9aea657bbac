"""What every dialect is given, and how its routes turn refusals into its own error shape."""

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from contracts.facts import Visibility
from contracts.media import address
from gateway.accepting import ACCEPTED
from gateway.api_keys.keys import ApiKeys
from gateway.commands import Commands
from gateway.deprecations import of_operation
from gateway.description import Documented, with_references
from gateway.identity import Identity
from gateway.live import Hub
from gateway.oauth import OAuth
from gateway.payments import Payments
from gateway.provider_keys import ProviderKeys
from gateway.queries import Queries
from gateway.refusals import (
    Defect,
    Invalid,
    MalformedBody,
    Refusal,
    TimedOut,
    Unavailable,
    UnsupportedMediaType,
    refusal_of,
)
from gateway.settings import AddressSettings
from gateway.sockets.server import Sockets
from gateway.tokens import Tokens
from gateway.uploads import Uploads
from gateway.users import Users
from gateway.waiting import Verdicts
from gateway.webhooks.endpoints import Webhooks
from runtime import telemetry
from runtime.database import Database
from runtime.health import is_transient

log = structlog.get_logger()
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_NO_TEXT = frozenset({"22021", "22P05"})
"""What Postgres says of a NUL, in a text and in JSON: where nobody looked before, it is refused then, and no defect."""

MAX_ERRORS = 20
MAX_ECHO_CHARACTERS = 40

Render = Callable[[Refusal], Response]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Surface:
    """The gateway, as a dialect sees it."""

    commands: Commands
    queries: Queries
    webhooks: Webhooks
    provider_keys: ProviderKeys
    payments: Payments
    identity: Identity
    verdicts: Verdicts
    hub: Hub
    database: Database
    broker: Any
    addresses: AddressSettings
    uploads: Uploads
    credit_price: Decimal
    """In US dollars."""
    api_keys: ApiKeys
    users: Users
    tokens: Tokens
    sockets: Sockets
    oauth: OAuth

    def address(
        self,
        key: str,
        lifetime_seconds: int | None = None,
        *,
        visibility: Visibility,
        download: bool = False,
    ) -> str:
        """The URL of a media key; it lives so long, or as the settings say, where addresses of what so many may see end
        at all.

        As the settings say, it is the same for a while: an answer that has it is not another one each second.
        """
        usual = self.addresses.media_lifetime_seconds
        return address(
            self.addresses.media_base,
            key,
            self.addresses.key_for(visibility),
            lifetime_seconds or usual,
            download=download,
            step_seconds=1 if lifetime_seconds else max(1, usual // 4),
        )


def traceparent_of(request: Request) -> str:
    """The trace context of this request."""
    return str(request.state.traceparent)


def route_class(render: Render) -> type[APIRoute]:
    """Routes that say every refusal, defect and outage in one dialect's shape."""

    class Route(APIRoute):
        def __init__(self, *arguments: Any, responses: Documented | None = None, **options: Any) -> None:
            super().__init__(*arguments, responses=with_references(responses or {}), **options)
            self._deprecation = of_operation(self.methods, self.path)
            self.deprecated = self.deprecated or self._deprecation is not None

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answered(request: Request) -> Response:
                ACCEPTED.set(None)
                try:
                    with telemetry.span(f"{request.method} {self.path}", traceparent := _traceparent(request)):
                        request.state.traceparent = telemetry.current_traceparent(traceparent)
                        answer = await handle(request)
                        if self._deprecation is not None:
                            answer.headers.update(self._deprecation.headers)
                        return answer
                except Exception as error:
                    return render(_said_of(error))

            return answered

    return Route


def _traceparent(request: Request) -> str:
    """The client's trace context where it sent a usable one, else a new one."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else telemetry.new_traceparent()


def _invalid(error: RequestValidationError) -> Refusal:
    if isinstance(error.body, bytes):
        # The framework reads nothing but JSON as JSON, and hands the bytes on as they are.
        return UnsupportedMediaType("The body has to be JSON: send it with 'Content-Type: application/json'.")
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return MalformedBody("The body is not valid JSON.")
    errors = [{"field": _place(item["loc"]), "message": item["msg"]} for item in found[:MAX_ERRORS]]
    first = errors[0]
    return Invalid(f"{first['field']}: {first['message']}", details={"errors": errors})


def _place(parts: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:MAX_ECHO_CHARACTERS] for part in parts if part != "body") or "body"


def _said_of(error: Exception) -> Refusal:
    """What is answered to an error: never that nothing was recorded or charged, once something was accepted."""
    refusal = _refusal_of(error)
    place = ACCEPTED.get()
    if place is None or not isinstance(refusal, Unavailable | Defect):
        return refusal
    message = f"It was accepted and goes on; how it stands cannot be said right now: look at {place}."
    return TimedOut(message, headers={"Location": place})


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return refusal_of(error)
    if is_transient(error):
        log.warning("request.unavailable", error=type(error).__name__)
        return Unavailable("The database cannot be reached right now. Nothing was recorded; try again.")
    if isinstance(error, DataError) and getattr(error.orig, "sqlstate", None) in _NO_TEXT:
        return Invalid("A text holds a character that can neither be kept nor looked for: NUL.")
    log.error("request.failed", exc_info=error)
    return Defect("Something went wrong on our side. Nothing was charged.")

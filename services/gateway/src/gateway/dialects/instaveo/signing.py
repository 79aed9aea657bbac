"""Signed requests: an HMAC over method, path, body and time, in the two forms that instaveo's builds write.

The proxy's form is `ts \\n METHOD \\n path`, and `\\n body` where there is one, with Unix seconds; the browser's is
`METHOD|path|body|ts`, with ISO 8601 and milliseconds. The timestamp's syntax tells them apart. The path is decoded and
without its query. A signature names no user: it is looked at before the token, and what happens twice is another's
affair (`acceptance.py`).
"""

import hmac
import re
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from hashlib import sha256
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from gateway.dialects.instaveo import errors
from gateway.dialects.surface import route_class
from gateway.refusals import Refusal, SignatureRefused, refusal_of
from gateway.settings import InstaveoSettings

_SECONDS = re.compile(r"[0-9]{1,12}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class Signatures:
    """Checks what a request is signed with."""

    def __init__(self, settings: InstaveoSettings, now: Callable[[], float] = time.time) -> None:
        self._secret = settings.request_signature_secret
        self._ttl_seconds = settings.request_signature_ttl_seconds
        self._timestamp_header = settings.request_signature_timestamp_header
        self._header = settings.request_signature_header
        self._now = now

    async def check(self, request: Request) -> str | None:
        """The signature, where requests are signed at all.

        Raises:
            SignatureRefused: there is none, it is too old or too early, or it is not over this request.
        """
        if self._secret is None:
            return None
        timestamp = _only(request, self._timestamp_header)
        given = _only(request, self._header)
        if not _SIGNATURE.fullmatch(given):
            raise SignatureRefused(f"{self._header} has to be 64 lower-case hexadecimal digits.")
        signed_at, message = _signed(timestamp, request.method, request.scope["path"], await request.body())
        if abs(self._now() - signed_at) > self._ttl_seconds:
            raise SignatureRefused("The signature is too old, or its clock is wrong.")
        expected = hmac.new(self._secret.get_secret_value().encode(), message, sha256).hexdigest()
        if not hmac.compare_digest(expected, given):
            raise SignatureRefused("The signature does not fit the request.")
        return given


def signed_route(signatures: Signatures) -> type[APIRoute]:
    """Routes that look at the signature before anything else of a request."""
    route: Any = route_class(errors.render)

    class SignedRoute(route):  # type: ignore[misc]
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    request.state.signature = await signatures.check(request)
                except Refusal as refusal:
                    return errors.render(refusal)
                except HTTPException as error:  # the body is over the limit
                    return errors.render(refusal_of(error))
                return await handle(request)  # type: ignore[no-any-return]

            return answer

    return SignedRoute


def _only(request: Request, name: str) -> str:
    given = request.headers.getlist(name)
    if len(given) != 1:
        raise SignatureRefused(f"The request has to be signed: one {name} is needed.")
    return given[0]


def _signed(timestamp: str, method: str, path: str, body: bytes) -> tuple[float, bytes]:
    """When it was signed, in Unix seconds, and what was."""
    if _SECONDS.fullmatch(timestamp):
        message = f"{timestamp}\n{method}\n{path}".encode()
        return float(timestamp), message + b"\n" + body if body else message
    try:
        if not _INSTANT.fullmatch(timestamp):
            raise ValueError
        signed_at = datetime.fromisoformat(timestamp).timestamp()
    except ValueError as error:
        raise SignatureRefused("The timestamp is neither Unix seconds nor ISO 8601 with milliseconds and Z.") from error
    return signed_at, f"{method}|{path}|".encode() + body + f"|{timestamp}".encode()

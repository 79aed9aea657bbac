"""What stands above every answer below `/openai/`: the request's id, how long it took, and how much may still be asked.

`x-request-id` holds the trace id, by which an operator finds the request in the logs.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.rates import Rates

PREFIX = "/openai/"
BASE = f"{PREFIX}v1"
"""Before each route: what SDKs are given as their `base_url`."""
NAMES = (
    "openai-processing-ms",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-request-id",
    "x-should-retry",
)
"""What a browser may read."""


class Heading:
    """Adds them, whoever answers."""

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        began_at = time.monotonic()

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                lines = self._lines(scope.get("state", {}), time.monotonic() - began_at)
                message["headers"] = [*message["headers"], *((name, value.encode()) for name, value in lines)]
            await send(message)

        await self._app(scope, receive, told)

    def _lines(self, state: Mapping[str, Any], seconds: float) -> Iterator[tuple[bytes, str]]:
        trace = state["traceparent"].split("-")[1] if "traceparent" in state else uuid4().hex
        yield b"x-request-id", f"req_{trace}"
        yield b"openai-processing-ms", str(round(seconds * 1000))
        if state.get("user_id") is not None:
            limits = [self._rates.user(state["user_id"]), *state.get("limits", ())]
            told = [(*self._rates.left(limit), limit.most) for limit in limits]
            left, full_seconds, most = min(told, key=lambda each: (each[0], each[2]))
            yield b"x-ratelimit-limit-requests", str(most)
            yield b"x-ratelimit-remaining-requests", str(left)
            yield b"x-ratelimit-reset-requests", f"{round(full_seconds * 1000)}ms"

"""What every request passes first and last: the bound on its body, how much its user may still ask, and its cookies."""

import contextlib
from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.dialects.jaaz import errors as jaaz
from gateway.dialects.native import errors as native
from gateway.dialects.openai import errors as openai
from gateway.dialects.openai.heading import PREFIX as OPENAI
from gateway.dialects.replicate import errors as replicate
from gateway.dialects.social import errors as social
from gateway.dialects.supabase import auth_errors as supabase_auth
from gateway.dialects.supabase import errors as supabase
from gateway.dialects.supabase import storage as supabase_storage
from gateway.dialects.surface import Render
from gateway.identity import Identity
from gateway.rates import Rates, headers_of
from gateway.refusals import BodyTooLarge, Refusal, Unauthenticated, plain

_SHAPES: tuple[tuple[str, Render], ...] = (
    ("/v1/", native.render),
    (OPENAI, openai.render),
    ("/api/social/", social.render),
    ("/api/ai/", social.render),
    ("/api/v1/", jaaz.render),
    ("/api/chat", jaaz.render_client),
    ("/api/canvas/", jaaz.render_client),
    ("/functions/v1/", jaaz.render_function),
    ("/replicate/v1/", replicate.render),
    ("/rest/v1/", supabase.render),
    ("/storage/v1/", supabase_storage.render),
    ("/auth/v1/", supabase_auth.render),
)
"""Of the dialects that own all paths below a prefix; everywhere else errors are plain."""

UNASKED = frozenset({400, 404, 405, 413, 415, 422})
"""With what is refused where nobody needs to know who asks."""


class BodyLimit:
    """Refuses bodies over a limit, by their length where it is given and while they arrive where it is not.

    `larger` names the paths that have another one; one that ends with `/` stands for all below it. `shape_of` is how it
    is said at a path.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int], shape_of: Callable[[str], Render]
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._larger = larger
        self._shape_of = shape_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._bound(scope["path"])
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > max_bytes:
            await self._shape_of(scope["path"])(_refusal(max_bytes))(scope, receive, send)
            return
        if b"content-length" in headers:
            await self._app(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                # The framework lets this one through from wherever a body is read.
                raise HTTPException(413, _refusal(max_bytes).message)
            return message

        await self._app(scope, limited, send)

    def _bound(self, path: str) -> int:
        below = (bound for prefix, bound in self._larger.items() if prefix.endswith("/") and path.startswith(prefix))
        return self._larger.get(path) or next(below, self._max_bytes)


def _refusal(max_bytes: int) -> Refusal:
    return BodyTooLarge(f"A body may have {max_bytes} bytes at most.")


def shape_of(path: str) -> Render:
    """How the dialect that owns a path says a refusal."""
    return next((render for prefix, render in _SHAPES if path.startswith(prefix)), plain)


class Allowance:
    """Says on every answer to a known user, or to a key, how much may still be asked for in this minute.

    What is refused before its route asks who it is, as a body that it cannot read, is asked about here.
    """

    def __init__(self, app: ASGIApp, rates: Rates, identity: Identity) -> None:
        self._app = app
        self._rates = rates
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in UNASKED:
                await self._ask(scope)
            state = scope.get("state", {})
            if message["type"] == "http.response.start" and state.get("user_id") is not None:
                limits = [self._rates.user(state["user_id"]), *state.get("limits", ())]
                headers = headers_of([(limit, *self._rates.left(limit)) for limit in limits])
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, told)

    async def _ask(self, scope: Scope) -> None:
        if scope.get("state", {}).get("user_id") is None:
            with contextlib.suppress(Unauthenticated):
                await self._identity.still(Request(scope))


class Cookies:
    """Puts cookies by, for the one page that has any: `scope["state"]["cookies"]`, as they were sent.

    The framework reads those of every request, and Python's reader of them (before 3.11.10 and 3.12.6) takes seconds
    for what a header holds, while all others wait.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (brought := [value for name, value in scope["headers"] if name == b"cookie"]):
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
            scope.setdefault("state", {})["cookies"] = b"; ".join(brought)
        await self._app(scope, receive, send)

"""How requests for the queue are told from all others: by their host, or by the port that they came in by.

At one host more, which is what `fal.run` is to fal, a request is held open until its result is there.
"""

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.dialects.fal import errors
from gateway.dialects.fal.router import IS_HELD_OPEN, make_router
from gateway.dialects.fal.translate import DIALECT
from gateway.dialects.surface import Surface
from gateway.edge import BodyLimit
from gateway.refusals import refusal_of
from gateway.settings import DoorSettings

_TLS_PORT = ":443"


class Door:
    """Lets the queue's requests in to the queue, and all others pass."""

    def __init__(self, app: ASGIApp, surface: Surface, doors: DoorSettings, max_bytes: int) -> None:
        self._app = app
        self._host, self._run_host = _plain(doors.fal_host), _plain(doors.fal_run_host)
        queue = FastAPI(openapi_url=None)
        queue.include_router(make_router(surface, self._host))
        queue.add_exception_handler(HTTPException, _outside_routes)
        self._queue = BodyLimit(queue, max_bytes, {}, lambda _: errors.render)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        host = _plain(said)
        if host is not None and host == self._run_host:
            scope.setdefault("state", {})[IS_HELD_OPEN] = True
        is_ours = host is not None and host in {self._host, self._run_host}
        await (self._queue if is_ours or self._came_by_port(scope) else self._app)(scope, receive, send)

    def _came_by_port(self, scope: Scope) -> bool:
        return bool(scope.get("state", {}).get("dialect") == DIALECT)


def _plain(host: str | None) -> str | None:
    return host.lower().removesuffix(_TLS_PORT) if host else None


async def _outside_routes(_: Request, error: Exception) -> Response:
    return errors.render(refusal_of(error))  # type: ignore[arg-type]

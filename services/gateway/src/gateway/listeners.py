"""Where the gateway listens: its own address, and beside it the ports that old frontends have written down.

One server in one process; which port a request came in by tells the dialect that it means.
"""

import socket
from collections.abc import Mapping
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.settings import DoorSettings
from gateway.sockets.server import MAX_FRAME_BYTES
from runtime import health
from runtime.settings import ProcessSettings

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 10
"""For open requests; event streams would keep a server for ever."""
KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep an idle connection (60 s): they must never send a request into one that we close."""

WEBSOCKETS: Literal["websockets-sansio"] = "websockets-sansio"
"""Sends a frame at half the CPU of `wsproto` (4 µs, not 8.5), and refuses one that is too large by its head.

Frames are small and many: compression would cost more than it saves, and Socket.IO has pings of its own."""


class Listeners:
    """Says to whom below which dialect a request without a better word belongs: `scope["state"]["dialect"]`."""

    def __init__(self, app: ASGIApp, dialect_of_port: Mapping[int, str]) -> None:
        self._app = app
        self._dialect_of_port = dialect_of_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        if server is not None and server[1] in self._dialect_of_port:
            scope.setdefault("state", {})["dialect"] = self._dialect_of_port[server[1]]
        await self._app(scope, receive, send)


class Server(health.Server):
    """Tells those who hold streams and requests open first, and then waits for what is open."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for close in self.config.app.state.leaving:  # type: ignore[union-attr]
            close()
        await super().shutdown(sockets)


def server_of(app: ASGIApp, process: ProcessSettings) -> Server:
    """The server. What a proxy says of a client is believed where the operator says so, and nowhere below."""
    return Server(
        app,
        process,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        proxy_headers=False,
        ws=WEBSOCKETS,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )


def sockets_of(process: ProcessSettings, doors: DoorSettings) -> list[socket.socket]:
    """The bound sockets: the gateway's own first, then one on loopback for each frontend.

    Raises:
        OSError: a port is taken; the message says which, and for whom it was meant.
    """
    addresses = [(process.host, process.port, "gateway")]
    addresses += [(LOOPBACK, port, dialect) for port, dialect in doors.dialect_of_port.items()]
    bound: list[socket.socket] = []
    try:
        bound.extend(_bound(*address) for address in addresses)
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _bound(host: str, port: int, whose: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(f"port {port}, asked for as the port of {whose}, cannot be had: {error.strerror}") from error
    return bound

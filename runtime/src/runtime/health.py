"""A process while it serves: its server, and live, ready and metrics as ASGI.

*Live* tests the event loop and nothing else: a dependency that is down must not restart the process.
*Ready* tests the dependencies and names those that are missing.
"""

import asyncio
import contextlib
import gc
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from nats.errors import Error as NatsError
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from uvicorn.config import STARTUP_FAILURE

from runtime.settings import ProcessSettings

LOOP_LAG_LIMIT_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 2.0
COLLECTOR_THRESHOLDS = (5_000, 20, 100)
"""Rarer than by default, which is a twentieth of the CPU here; with 50,000 the loop stands still for 40 ms."""

Check = Callable[[], Awaitable[list[str]]]
"""Returns what is wrong; empty when all is well."""
Routes = list[tuple[str, Any]]
TASKS = Gauge("event_loop_tasks", "What the event loop has begun and not ended.")


def is_transient(error: BaseException) -> bool:
    """Whether the error says that a dependency is away, rather than that the fact cannot be handled."""
    if isinstance(error, DBAPIError):
        # 40001 and 40P01: serialization failure and deadlock; 57P0x: shutdown; 55P03 and 57014: a lock or a statement
        # took too long; 25006: read-only, as while another server takes over; 53: no room on the disk or in memory, too
        # many connections; 58030: the disk failed; 28: a password that was changed on one side first
        code = getattr(error.orig, "sqlstate", None) or ""
        return (
            error.connection_invalidated
            or isinstance(error, OperationalError | InterfaceError)
            or code in {"25006", "40001", "40P01", "55P03", "57014", "58030"}
            or code.startswith(("08", "28", "53", "57P"))
        )
    return isinstance(error, OSError | TimeoutError | NatsError)


class Server(uvicorn.Server):
    """Looks after itself once a second, and when it is told to end.

    The framework's own does so ten times a second: most of what a process costs at rest. `options` are uvicorn's.
    """

    def __init__(self, app: Any, process: ProcessSettings, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, process.host, process.port, log_config=None, access_log=False, **options))
        self._told = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._told.set()

    @property
    def has_failed(self) -> bool:
        """Whether the application has ended by itself, as where what it begins after its first answer raised."""
        return bool(getattr(getattr(self, "lifespan", None), "error_occurred", False))

    async def main_loop(self) -> None:
        while not (self.has_failed or await self.on_tick(0)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._told.wait()


def serve(server: Server, sockets: list[socket.socket] | None = None) -> None:
    """Returns when it was told to end. Raises SystemExit where it could not begin, or the application ended."""
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=sockets)
    if not server.started or server.has_failed:
        sys.exit(STARTUP_FAILURE)


class LoopLag:
    """How late the event loop runs what is due."""

    def __init__(self) -> None:
        self._beat_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        # What is loaded stays: the cycle collector need not look at it again and again, nor stop the loop for it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        self._task = asyncio.create_task(self._beat(), name="loop lag")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def seconds(self) -> float:
        return max(0.0, time.monotonic() - self._beat_at - 1.0)

    async def _beat(self) -> None:
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(1.0)


async def problems(checks: list[Check]) -> list[str]:
    """Runs all checks, each with a time limit; a check that raises is a problem, too."""

    async def run(check: Check) -> list[str]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                return await check()
        except Exception as error:
            return [f"{getattr(check, '__name__', 'check')}: {type(error).__name__}"]

    return [problem for found in await asyncio.gather(*map(run, checks)) for problem in found]


def routes(lag: LoopLag, checks: list[Check]) -> Routes:
    """`/live`, `/ready` and `/metrics` for `AsgiFastStream(asgi_routes=…)` or a mount."""

    async def live(scope: Any, receive: Any, send: Any) -> None:
        late = lag.seconds > LOOP_LAG_LIMIT_SECONDS
        await _answer(send, 503 if late else 200, {"live": not late, "loop_lag_seconds": round(lag.seconds, 3)})

    async def ready(scope: Any, receive: Any, send: Any) -> None:
        found = await problems(checks)
        await _answer(send, 503 if found else 200, {"ready": not found, "problems": found})

    async def metrics(scope: Any, receive: Any, send: Any) -> None:
        TASKS.set(len(asyncio.all_tasks()))
        await _send(send, 200, generate_latest(), CONTENT_TYPE_LATEST)

    return [("/live", live), ("/ready", ready), ("/metrics", metrics)]


async def _answer(send: Any, status: int, body: dict[str, Any]) -> None:
    await _send(send, status, json.dumps(body).encode(), "application/json")


async def _send(send: Any, status: int, body: bytes, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""A process that serves: rarely awake at rest, and prompt when it is told to end."""

import asyncio
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from runtime.health import Server
from runtime.settings import ProcessSettings


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that nobody asks."""


class Counted(Server):
    """Counts how often it looks after itself."""

    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


async def test_a_server_at_rest_is_rarely_awake_and_ends_at_once() -> None:
    server = Counted(nothing, ProcessSettings())
    loop = asyncio.create_task(server.main_loop())
    await asyncio.sleep(1.2)
    assert 1 <= server.ticks <= 2
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(asyncio.shield(loop), 0.8)


SERVES = """
import sys
from runtime.health import Server, serve
from runtime.settings import ProcessSettings

async def application(scope, receive, send):
    assert scope["type"] == "lifespan" and (await receive())["type"] == "lifespan.startup"
    if "ill" in sys.argv:
        await send({"type": "lifespan.startup.failed", "message": "it is ill"})
        return
    await send({"type": "lifespan.startup.complete"})
    print("ready", flush=True)
    if "later" in sys.argv:
        raise RuntimeError("it fell ill")
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

serve(Server(application, ProcessSettings()))
"""


def test_a_process_ends_soon_after_it_is_told_to() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVES], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        told_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert time.monotonic() - told_at < 5


@pytest.mark.parametrize("when", ["ill", "later"])
def test_a_process_that_cannot_begin_says_so_by_its_status(when: str) -> None:
    """Also what has said that it had begun, and whose consumers then did not: alive it would do nothing for ever."""
    ended = subprocess.run([sys.executable, "-c", SERVES, when], check=False, capture_output=True, timeout=10)
    assert ended.returncode == 3

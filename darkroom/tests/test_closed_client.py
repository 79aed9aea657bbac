"""A client that is closed while other threads use it: each of them is told, none waits for ever."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from darkroom.client import Client

ID = "01920000-0000-7000-8000-0000000abcde"
PROGRESS = b'event: progress\ndata: {"number": 1, "stage": "rendering", "percent": 40}\n\n'
TOLD_SECONDS = 5


@pytest.fixture
def followed() -> list[str]:
    """What is being followed."""
    return []


@pytest.fixture
async def url(followed: list[str]) -> AsyncIterator[str]:
    """A gateway that says how far it is, and then nothing more."""

    async def follow(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(PROGRESS)
        followed.append(request.path)
        await asyncio.Event().wait()
        return stream

    app = web.Application()
    app.add_routes([web.get("/v1/generations/{id}/events", follow)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_who_waits_in_another_thread_is_told_that_the_client_was_closed(url: str, followed: list[str]) -> None:
    client = Client(url, "a-token")
    told: list[str] = []

    def tried(ask: Callable[[], object]) -> None:
        try:
            ask()
        except Exception as error:
            told.append(type(error).__name__)

    def program() -> list[bool]:
        left = client.follow(ID)
        next(left)
        asks = (lambda: client.wait(ID), lambda: list(client.follow(ID)))
        threads = [threading.Thread(target=tried, args=(ask,), daemon=True) for ask in asks]
        for thread in threads:
            thread.start()
        while len(followed) < 1 + len(asks):
            time.sleep(0.01)
        client.close()
        for thread in threads:
            thread.join(TOLD_SECONDS)
        tried(lambda: next(left))
        tried(lambda: client.wait(ID))
        return [thread.is_alive() for thread in threads]

    assert await asyncio.to_thread(program) == [False, False]
    assert told == ["CancelledError", "CancelledError", "ClosedError", "ClosedError"]

"""A client that is closed, or used where it does not belong: whoever uses it is told, and nobody waits for ever."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from darkroom.client import AsyncClient, Client
from darkroom.client.errors import ClosedError, ElsewhereError

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


async def test_what_is_asked_after_the_end_is_told_so(url: str) -> None:
    for used in (True, False):
        client = AsyncClient(url, "a-token")
        if used:
            await anext(client.follow(ID))
        await client.close()
        with pytest.raises(ClosedError):
            await client.credits()
        await client.close()


async def test_another_loop_needs_a_client_of_its_own(url: str) -> None:
    client = AsyncClient(url, "a-token")
    await anext(client.follow(ID))

    def program() -> None:
        with pytest.raises(ElsewhereError):
            asyncio.run(client.wait(ID))

    await asyncio.to_thread(program)
    await client.close()


async def test_a_forked_child_needs_a_client_of_its_own(url: str) -> None:
    """It has no thread that would ever answer, also not to the iterator that was begun before."""
    client = Client(url, "a-token")

    def program() -> int:
        left = client.follow(ID)
        next(left)
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TOLD_SECONDS)
        told = []
        asks: list[Callable[[], object]] = [lambda: client.wait(ID), lambda: next(left)]
        for ask in asks:
            try:
                ask()
            except ElsewhereError:
                told.append(ask)
        client.close()
        os._exit(len(told))

    assert os.waitstatus_to_exitcode(await asyncio.to_thread(program)) == 2
    client.close()

"""What a stranger answers is read within bounds (B31): so many bytes, in so much time, whole and as it is."""

import asyncio
import gzip
import socket

import aiohttp
import pytest
from aiohttp import web

from runtime.health import is_transient
from runtime.outbound import Refused, Unreachable, fetch
from runtime.tests.strangers import PUBLIC_HOST, Stranger, read


async def test_the_length_is_bounded_before_and_while_reading(
    stranger: Stranger, session: aiohttp.ClientSession
) -> None:
    """B31: a declared length, and none at all."""
    stranger.answer = lambda _: web.Response(body=b"x" * 1001)
    with pytest.raises(Refused, match="larger"):
        await read(session, stranger.url)

    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 50_000_000:
            await response.write(b"x" * 10_000)
            sent += 10_000
        return response

    stranger.answer = endless
    with pytest.raises(Refused, match="larger"):
        await read(session, stranger.url)
    assert sent < 20_000_000
    stranger.answer = lambda _: web.Response(body=b"x" * 1000)
    assert len(await read(session, stranger.url)) == 1000


async def test_an_answer_shorter_than_it_says_is_an_error(stranger: Stranger, session: aiohttp.ClientSession) -> None:
    """B31, P17: a truncated body is never taken for a whole one."""

    async def lying(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "900"})
        await response.prepare(request)
        await response.write(b"x" * 100)
        assert request.transport is not None
        request.transport.close()
        return response

    stranger.answer = lying
    with pytest.raises(Unreachable, match="broke off"):
        await read(session, stranger.url)


async def test_a_compressed_answer_is_refused_unopened(stranger: Stranger, session: aiohttp.ClientSession) -> None:
    """B31: a gzip bomb."""
    bomb = gzip.compress(b"\0" * 10_000_000)
    stranger.answer = lambda _: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(Refused, match="compressed"):
        await read(session, stranger.url, max_bytes=20_000_000)


@pytest.mark.parametrize("before_headers", [True, False])
async def test_the_deadline_covers_the_whole_answer(
    stranger: Stranger, session: aiohttp.ClientSession, before_headers: bool
) -> None:
    """B31: slow drip."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if before_headers:
            await asyncio.sleep(2)
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x")
            await asyncio.sleep(0.01)
        return response

    stranger.answer = drip
    started = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable, match="within"):
        await read(session, stranger.url, deadline_seconds=0.3)
    assert asyncio.get_running_loop().time() - started < 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, Refused), (403, Refused), (204, Refused), (304, Refused), (429, Unreachable), (503, Unreachable)],
)
async def test_which_answers_are_final(
    stranger: Stranger, session: aiohttp.ClientSession, status: int, error: type[Exception]
) -> None:
    stranger.answer = lambda _: web.Response(status=status)
    with pytest.raises(error):
        await read(session, stranger.url)


async def test_nobody_there_is_not_our_dependency(session: aiohttp.ClientSession) -> None:
    """A stranger's server that is down makes no fact wait in place."""
    with socket.socket() as closed:
        closed.bind((PUBLIC_HOST, 0))
        with pytest.raises(Unreachable) as caught:
            await read(session, f"http://{PUBLIC_HOST}:{closed.getsockname()[1]}/")
    assert not is_transient(caught.value)
    with pytest.raises(Unreachable):
        await read(session, "https://no-such-name.invalid/")


async def test_an_error_of_the_reader_stays_its_own(stranger: Stranger, session: aiohttp.ClientSession) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with fetch(session, stranger.url, max_bytes=10, deadline_seconds=5):
            raise TimeoutError("mine")

"""The HTTP caller against vendors that mean no good: what it reads, how long, and where it goes."""

import asyncio
import time
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from contracts.facts import Kind
from generator.providers import http
from generator.providers.interface import Given, Invalid, Submission, Throttled, Unauthorized, Unavailable, Unknown
from generator.providers.sdk import NotKnown
from runtime.outbound import OutboundSettings, make_session

from .conformance import much
from .vendor import answering

KEY = "Key not-for-others"
MEGABYTE = 1024 * 1024


@pytest.fixture
async def session():
    async with make_session(OutboundSettings(outbound_allow="127.0.0.0/8")) as session:
        yield session


def submission(seconds=20.0):
    return Submission(UUID(int=1), Kind.IMAGE, "model", "words", 1, 0, None, {}, seconds)


def make(session, url, reading=lambda status, problem: http.Said(), max_answer_bytes=MEGABYTE):
    return http.Caller(session, url, {"Authorization": KEY}, reading, max_answer_bytes)


class pouring:  # noqa: N801 - reads as a word
    """A vendor whose answers do not end; `sent` is how much of them left."""

    def __init__(self, headers, chunk=b" " * 65_536, pause_seconds=0.0):
        self._headers, self._chunk, self._pause_seconds = headers, chunk, pause_seconds
        self.sent = 0

    async def __aenter__(self):
        async def handle(request):
            response = web.StreamResponse(headers=self._headers)
            await response.prepare(request)
            while request.transport is not None and not request.transport.is_closing():
                await response.write(self._chunk)
                self.sent += len(self._chunk)
                await asyncio.sleep(self._pause_seconds)
            return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_):
        await self._runner.cleanup()


@pytest.mark.parametrize("headers", [{"Content-Length": str(5 * 1024**3)}, {}])
async def test_five_gigabytes_are_not_read(session, headers):
    vendor = pouring(headers)
    async with vendor as url:
        with pytest.raises(Unknown):
            await make(session, url).pay(submission(), "/paid", {})
        with pytest.raises(Unavailable):
            await make(session, url).look("/free")
        assert vendor.sent < 32 * MEGABYTE
        assert not session.connector._acquired


async def test_what_unpacks_to_gigabytes_is_not_unpacked(session):
    async with answering(200, much(), {"Content-Encoding": "gzip"}) as url:
        with pytest.raises(Unknown):
            await make(session, url).pay(submission(), "/paid", {})


async def test_a_drip_ends_with_the_time_of_the_call(session):
    async with pouring({}, b" ", 0.02) as url:
        began_at = time.monotonic()
        with pytest.raises(Unknown):
            await make(session, url).pay(submission(0.4), "/paid", {})
        with pytest.raises(Unavailable):
            await make(session, url).ask("GET", "/free", timeout_seconds=0.4)
        assert time.monotonic() - began_at < 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_with_the_key(session, status):
    elsewhere = answering(200, b"{}")
    async with elsewhere as other, answering(status, b"", {"Location": other}) as url:
        with pytest.raises(Invalid):
            await make(session, url).pay(submission(), "/paid", {})
        with pytest.raises(Unavailable):
            await make(session, url).look("/free")
    assert elsewhere.heard == []


@pytest.mark.parametrize(
    ("status", "paid", "free"),
    [
        (400, Invalid, Invalid),
        (401, Unauthorized, Unavailable),
        (404, Invalid, NotKnown),
        (408, Unavailable, Unavailable),
        (410, Invalid, NotKnown),
        (429, Throttled, Throttled),
        (500, Unavailable, Unavailable),
        (504, Unknown, Unavailable),
    ],
)
async def test_a_status_means_one_thing_where_it_was_paid_and_another_where_it_was_free(session, status, paid, free):
    async with answering(status, b"<html>no</html>") as url:
        with pytest.raises(paid) as refused:
            await make(session, url).pay(submission(), "/paid", {})
        assert type(refused.value) is paid
        with pytest.raises(free) as refused:
            await make(session, url).look("/free")
        assert type(refused.value) is free


async def test_a_vendor_s_words_are_shown_without_ids_keys_and_addresses(session):
    def reading(status, problem):
        return http.Said(words=problem.get("why"))

    said = b'{"why": "The size is wrong. See https://vendor.example/x, request id req_0123456789ab, sk-abcdef0123"}'
    async with answering(400, said) as url:
        with pytest.raises(Invalid) as refused:
            await make(session, url, reading).pay(submission(), "/paid", {})
    assert str(refused.value).startswith("The size is wrong. See")
    for secret in ("vendor.example", "req_0123456789ab", "sk-abcdef0123"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff\xfe", b"NaN", b'{"a": 1', b"null"])
async def test_what_is_no_object(session, body):
    async with answering(200, body) as url:
        with pytest.raises(Unknown):
            (await make(session, url).pay(submission(), "/paid", {})).json()
        with pytest.raises(Unavailable):
            await make(session, url).look("/free")


async def test_both_sides_can_match_their_records(session):
    heard = []

    async def handle(request):
        heard.append(request.headers)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        await make(session, url).pay(submission(), "/paid", form=aiohttp.FormData({"a": "b"}))
    finally:
        await runner.cleanup()
    assert heard[0]["X-Client-Request-Id"] == str(UUID(int=1)) and heard[0]["Authorization"] == KEY


@pytest.mark.parametrize("name", ["a", "cgt-1", "models:1", "x" * 200])
def test_ids_that_can_stand_in_a_path(name):
    assert http.task_id(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a?b", "a#b", "a b", "a\n", "x" * 201, None, 5, "%2e"])
def test_ids_that_cannot(name):
    with pytest.raises(Unknown):
        http.task_id(name)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ("1024x1024", "1:1"),
        ("1920x1080", "16:9"),
        ("720x1280", "9:16"),
        ("1000x900", "1:1"),
        ("0x5", None),
        (None, None),
    ],
)
def test_the_nearest_ratio(size, ratio):
    assert http.nearest_ratio(size, ("16:9", "1:1", "9:16")) == ratio


def test_a_picture_is_named_by_its_address_or_is_in_the_body():
    assert http.address(Given("image", url="https://a.example/x.png")) == "https://a.example/x.png"
    assert http.address(Given("image", content=b"hi", mime_type="image/webp")) == "data:image/webp;base64,aGk="

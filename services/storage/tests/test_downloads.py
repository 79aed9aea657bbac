"""Fetching: goes on where it broke off, asks once for a fresh address, and takes large files in little memory."""

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiohttp import web
from nats.aio.client import Client

from contracts.facts import Kind
from contracts.questions import GENERATOR_FRESH_ADDRESS
from contracts.tasks import FreshAddress, FreshAddressOf
from storage.downloads import Downloads
from storage.ingest import Ingest

from .recorded import video
from .samples import Provider, noise, picture, rendered

pytestmark = pytest.mark.connected


class Cut:
    """Serves a part of the rest at each try, then hangs up; as servers do that know Range, or do not."""

    def __init__(self, content: bytes, pieces: int, *, tag: str | None = '"one"', changes: bool = False) -> None:
        self._content = content
        self._piece = -(-len(content) // pieces)
        self._tag = tag
        self._changes = changes
        self.asked: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("Range"))
        tag = f'"{len(self.asked)}"' if self._changes else self._tag
        start = 0
        if self.asked[-1] is not None and request.headers.get("If-Range") == tag:
            start = int(self.asked[-1].removeprefix("bytes=").removesuffix("-"))
        rest = self._content[start:]
        headers = {"Content-Length": str(len(rest))} | ({"ETag": tag} if tag else {})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self._content) - 1}/{len(self._content)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        await response.write(rest[: self._piece])
        if len(rest) > self._piece:
            assert request.transport is not None
            request.transport.close()
        return response


async def test_a_broken_download_goes_on_where_it_stopped(downloads: Downloads, provider: Provider) -> None:
    content = noise(300, 200)
    cut = Cut(content, 3)
    fact = rendered(provider.url("a", cut))
    body = await downloads.get(fact.data.request, fact.data.outputs[0])
    body.content.seek(0)
    assert body.content.read() == content
    assert (body.size, body.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    piece = -(-len(content) // 3)
    assert cut.asked == [None, f"bytes={piece}-", f"bytes={2 * piece}-"]
    body.content.close()


async def test_where_there_is_no_rest_all_of_it_comes_again(downloads: Downloads, provider: Provider) -> None:
    """All had come before the connection broke, without a word that this was the end."""
    content = noise(100, 100)
    asked: list[str | None] = []

    async def broken_at_its_end(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Range"))
        if len(asked) == 2:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        response = web.StreamResponse(headers={"ETag": '"one"'})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(content)
        if len(asked) == 1:
            assert request.transport is not None
            request.transport.close()
        return response

    fact = rendered(provider.url("a", broken_at_its_end))
    body = await downloads.get(fact.data.request, fact.data.outputs[0])
    assert (body.size, body.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert asked == [None, f"bytes={len(content)}-", None]
    body.content.close()


@pytest.mark.parametrize("changes", [True, False])
async def test_p17_two_halves_of_different_bodies_are_never_joined(
    downloads: Downloads, provider: Provider, changes: bool
) -> None:
    """The server changed it meanwhile, or says nothing by which one would know: all of it comes again, or nothing."""
    content = noise(100, 100)
    cut = Cut(content, 1)
    failing = Cut(content, 2, tag=None, changes=changes)

    async def first_broken(request: web.Request) -> web.StreamResponse:
        return await (failing(request) if not cut.asked and len(failing.asked) < 2 else cut(request))

    fact = rendered(provider.url("a", first_broken))
    body = await downloads.get(fact.data.request, fact.data.outputs[0])
    assert body.sha256 == hashlib.sha256(content).hexdigest()
    assert body.size == len(content)
    body.content.close()


async def test_a_part_that_nobody_asked_for_is_refused(ingest: Ingest, provider: Provider) -> None:
    async def half(_: web.Request) -> web.StreamResponse:
        content = picture()
        return web.Response(status=206, body=content, headers={"Content-Range": f"bytes 0-{len(content) - 1}/9999"})

    outcome = await ingest.store(rendered(provider.url("a", half)))
    assert outcome.data.failure is not None
    assert outcome.data.failure.code == "result_unusable"


# -- fresh addresses ------------------------------------------------------------------------------------------


@pytest.fixture
async def asked(bus: Client, provider: Provider) -> AsyncIterator[list[FreshAddressOf]]:
    """What the generator is asked; it answers with the provider's `fresh`, where there is one."""
    questions: list[FreshAddressOf] = []

    async def answer(message: Any) -> None:
        questions.append(FreshAddressOf.model_validate_json(message.data))
        url = f"http://127.0.0.1:{provider.port}/fresh" if "fresh" in provider.answers else None
        await message.respond(FreshAddress(url=url).model_dump_json().encode())

    subscription = await bus.subscribe(GENERATOR_FRESH_ADDRESS, cb=answer)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield questions
    await subscription.unsubscribe()


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_f20_an_expired_address_is_asked_anew_once(
    ingest: Ingest, provider: Provider, asked: list[FreshAddressOf], status: int
) -> None:
    provider.url("fresh", picture())
    fact = rendered(provider.url("old", status))
    outcome = await ingest.store(fact)
    assert outcome.data.verdict == "completed"
    assert asked == [FreshAddressOf(generation_id=fact.data.request.generation_id, index=0)]
    assert outcome.data.assets[0].source_url == fact.data.outputs[0].url


async def test_f20_a_fresh_address_that_has_expired_as_well_is_the_end(
    ingest: Ingest, provider: Provider, asked: list[FreshAddressOf]
) -> None:
    provider.url("fresh", 404)
    outcome = await ingest.store(rendered(provider.url("old", 404)))
    assert outcome.data.failure is not None
    assert len(asked) == 1


async def test_f20_no_fresh_address_or_nobody_to_ask_fails_as_it_would(
    ingest: Ingest, provider: Provider, asked: list[FreshAddressOf], bus: Client
) -> None:
    outcome = await ingest.store(rendered(provider.url("old", 404)))
    assert outcome.data.failure is not None
    assert "404" in outcome.data.failure.message
    assert len(asked) == 1


async def test_f20_without_a_generator_it_fails_at_once(ingest: Ingest, provider: Provider) -> None:
    async with asyncio.timeout(5):
        outcome = await ingest.store(rendered(provider.url("old", 404)))
    assert outcome.data.verdict == "failed"


async def test_p28_a_fresh_address_is_guarded_like_any_other(ingest: Ingest, bus: Client, provider: Provider) -> None:
    async def lead_home(message: Any) -> None:
        await message.respond(FreshAddress(url="http://127.0.0.1:1/").model_dump_json().encode())

    subscription = await bus.subscribe(GENERATOR_FRESH_ADDRESS, cb=lead_home)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    outcome = await ingest.store(rendered(provider.url("old", 404)))
    await subscription.unsubscribe()
    assert outcome.data.failure is not None
    assert outcome.data.failure.code == "result_unusable"


# -- memory ---------------------------------------------------------------------------------------------------

STREAM_BYTES = int(os.environ.get("STREAM_BYTES", str(256 << 20)))
"""2 GB by hand: STREAM_BYTES=2147483648 pytest -k in_little_memory --timeout 600"""
_FETCH = """
import asyncio, sys
from pathlib import Path
from contracts.facts import Kind
from storage.downloads import Bounds, Downloads
from runtime.outbound import OutboundSettings
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
async def main(port, size):
    async def nobody(generation_id, index): return None
    bounds = Bounds(size, 600)
    allowed = OutboundSettings(outbound_allow=f"127.0.0.1:{port}")
    downloads = Downloads(allowed, None, nobody, pictures=bounds, recordings=bounds)
    await downloads.start()
    before = peak()
    body = await downloads._fetch(f"http://127.0.0.1:{port}/", bounds, Kind.VIDEO)
    assert body.size == size
    print(peak() - before, body.sha256)
    await downloads.close()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def test_a_large_video_passes_in_little_memory() -> None:
    """2 GB in under 64 MB: what is held does not depend on the length."""
    block = os.urandom(1 << 20)

    class Stream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(STREAM_BYTES))
            self.end_headers()
            for _ in range(STREAM_BYTES // len(block)):
                self.wfile.write(block)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-c", _FETCH, str(server.server_port), str(STREAM_BYTES)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    server.shutdown()
    server.server_close()
    kilobytes, digest = run.stdout.split()
    expected = hashlib.sha256()
    for _ in range(STREAM_BYTES // len(block)):
        expected.update(block)
    assert digest == expected.hexdigest()
    assert int(kilobytes) < 64 << 10
    print(f"{STREAM_BYTES >> 20} MB grew the process by {int(kilobytes) >> 10} MB")


async def test_a_cut_video_goes_on_too(downloads: Downloads, provider: Provider) -> None:
    content = video(320, 180, 1)
    fact = rendered(provider.url("v", Cut(content, 2)), kind=Kind.VIDEO)
    body = await downloads.get(fact.data.request, fact.data.outputs[0])
    assert body.sha256 == hashlib.sha256(content).hexdigest()
    body.content.close()

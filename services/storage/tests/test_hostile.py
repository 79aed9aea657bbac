"""Shows P28 and P29 from end to end: a provider's answer that lies, drips, bombs or leads home (B27–B36)."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from storage.ingest import Ingest
from storage.objects.local import LocalObjects

from .conftest import GIVE_UP_SECONDS, MAX_BYTES
from .samples import Provider, names, picture, rendered
from .test_pictures import HOSTILE

pytestmark = pytest.mark.connected


async def stored(ingest: Ingest, url: str) -> tuple[str, str]:
    outcome = await ingest.store(rendered(url))
    assert outcome.data.assets == ()
    assert outcome.data.failure is not None
    return outcome.data.failure.code, outcome.data.failure.message


@pytest.mark.parametrize("name", HOSTILE)
async def test_content_that_is_no_picture(ingest: Ingest, provider: Provider, objects: LocalObjects, name: str) -> None:
    """P29: an outcome in plain words, in time, and nothing kept."""
    started = time.monotonic()
    code, message = await stored(ingest, provider.url("a.png", HOSTILE[name]))
    assert code == "result_unusable"
    assert "picture" in message
    assert time.monotonic() - started < 10
    assert await names(objects) == set()


async def test_a_true_picture_under_a_false_type(ingest: Ingest, provider: Provider) -> None:
    async def lie(_: web.Request) -> web.StreamResponse:
        return web.Response(body=picture(format_="JPEG"), content_type="text/html")

    [asset] = (await ingest.store(rendered(provider.url("a.svg", lie)))).data.assets
    assert asset.mime_type == "image/jpeg"
    assert asset.key.endswith(".jpg")


async def too_long(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\0" * (MAX_BYTES + 1))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"\0" * 64_000)
    return response


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(picture())
    assert request.transport is not None
    request.transport.close()
    return response


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    while True:
        await response.write(b"\0")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (too_long, "result_unusable"),
        (endless, "result_unusable"),
        (cut, "result_unreachable"),
        (drip, "result_unreachable"),
    ],
)
async def test_bodies_that_lie(
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    code: str,
) -> None:
    """B31, P17."""
    started = time.monotonic()
    assert (await stored(ingest, provider.url("a", answer)))[0] == code
    assert time.monotonic() - started < GIVE_UP_SECONDS + 2
    assert await names(objects) == set()


async def test_nothing_leads_home(ingest: Ingest, provider: Provider) -> None:
    """P28, B27, B29: the canary on loopback hears nothing, whether named at once or by a redirect."""
    connections = 0

    def heard(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    canary = await asyncio.start_server(heard, "127.0.0.1", 0)
    port = canary.sockets[0].getsockname()[1]
    targets = [
        *(f"http://{host}:{port}/" for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost")),
        f"http://[::ffff:127.0.0.1]:{port}/",
        f"http://user:password@127.0.0.1:{provider.port}/a",
        "file:///etc/passwd",
    ]
    for target in targets:

        async def redirect(_: web.Request, target: str = target) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": target})

        assert (await stored(ingest, target))[0] == "result_unusable"
        assert (await stored(ingest, provider.url("redirect", redirect)))[0] == "result_unusable"
    assert connections == 0
    canary.close()


async def test_a_chain_of_redirects(ingest: Ingest, provider: Provider) -> None:
    """B29: three are followed, twenty are not."""

    async def onward(request: web.Request) -> web.StreamResponse:
        left = int(request.query["left"])
        if left == 0:
            return web.Response(body=picture())
        return web.Response(status=302, headers={"Location": f"/chain?left={left - 1}"})

    url = provider.url("chain", onward)
    assert (await ingest.store(rendered(f"{url}?left=3"))).data.verdict == "completed"
    assert (await stored(ingest, f"{url}?left=20"))[0] == "result_unusable"
    assert provider.asked["chain"] == 8

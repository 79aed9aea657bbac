"""Shows P28 and P29 from end to end: a provider's answer that is no picture, or leads home (B27–B36)."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from storage.downloads import Body
from storage.ingest import Ingest
from storage.objects.local import LocalObjects
from storage.pictures import Unusable
from storage.preparation import Preparation
from storage.workshop import Workshop

from .conftest import MAX_BYTES
from .samples import Provider, names, picture, rendered
from .test_pictures import HOSTILE
from .test_recordings import HOSTILE as HOSTILE_RECORDINGS

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


async def test_p29_the_whole_corpus_within_a_workers_limits(tmp_path: Path) -> None:
    """Each file within its time, and no process that decodes them ever above 512 MB; the largest that is taken, too."""
    workshop = Workshop()
    cleaning = Preparation(workshop)
    turned = Image.Exif()
    turned[0x0112] = 6
    largest = grey(8000, 6250, "JPEG", exif=turned)

    async def bring(content: bytes) -> bool:
        file = tmp_path / "brought"
        file.write_bytes(content)
        began = time.monotonic()
        try:
            with file.open("rb") as opened:
                prepared = await cleaning.clean(Body(opened, len(content), ""))
            prepared.body.content.close()
        except Unusable:
            return False
        finally:
            assert time.monotonic() - began < 30, "and of CPU no more than ten, as the workshop sees to"
        return True

    assert await bring(largest)
    hostile = [*HOSTILE.values(), *HOSTILE_RECORDINGS.values()]
    assert (len(hostile) >= 40, [await bring(content) for content in hostile]) == (True, [False] * len(hostile))
    workers = [worker for process in workshop._processes if process._pool for worker in process._pool._processes]
    peaks = [int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) for pid in workers]
    cleaning.close()
    workshop.close()
    assert 0 < max(peaks) < 512_000


def grey(width: int, height: int, format_: str, **options: Any) -> bytes:
    """Quickly made, however large."""
    output = io.BytesIO()
    Image.new("L" if format_ == "GIF" else "RGB", (width, height), "grey").save(output, format_, **options)
    return output.getvalue()

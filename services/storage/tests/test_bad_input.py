"""Bad input (reliability.md (c), B27–B36), through the whole way of a result and of an upload.

Whatever comes, the answer is an outcome or a failure in words, never an error of ours, and a listener on loopback that
every address leads to hears nothing. B37 is in test_exact.py, B38 and B41 in test_uploads.py, B39 in
test_recordings.py, B40 in test_media.py and the gateway's test_uploads.py.
"""

import asyncio
import gzip
import io
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from nats.aio.client import Client
from PIL import Image, ImageCms

from contracts.facts import Asset, Kind, Verdict
from storage.ingest import Ingest
from storage.objects import name_of
from storage.objects.local import LocalObjects

from .conftest import GIVE_UP_SECONDS, MAX_BYTES, Make
from .samples import Provider, names, picture, rendered
from .test_hostile import cut, drip, endless, too_long
from .test_pictures import HOSTILE, chunk, damaged, png
from .test_uploads import brought, refused

pytestmark = pytest.mark.connected
UNUSABLE = {"unsupported_media", "unusable_media"}


class Canary:
    """Listens on loopback, on both families where there are two."""

    port = 0
    connections = 0


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    canary = Canary()

    def heard(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        canary.connections += 1
        writer.close()

    server = await asyncio.start_server(heard, "127.0.0.1", 0)
    canary.port = server.sockets[0].getsockname()[1]
    yield canary
    server.close()
    await server.wait_closed()
    assert canary.connections == 0


async def failed(ingest: Ingest, url: str, kind: Kind = Kind.IMAGE) -> str:
    outcome = await ingest.store(rendered(url, kind=kind))
    assert (outcome.data.verdict, outcome.data.assets) == (Verdict.FAILED, ())
    assert outcome.data.failure is not None
    return outcome.data.failure.code


async def kept(ingest: Ingest, provider: Provider, objects: LocalObjects, content: bytes) -> tuple[Asset, bytes]:
    fact = rendered(provider.url("kept", content))
    [asset] = (await ingest.store(fact)).data.assets
    name = name_of(fact.data.request.user_id, asset.sha256)
    return asset, b"".join([piece async for piece in objects.open(name)])


HOSTS = (
    *("127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0.0.0.0", "localhost", "[::1]", "[::]"),
    *("[::ffff:169.254.169.254]", "[::ffff:127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]"),
    *("100.64.0.1", "168.63.129.16", "169.254.169.254", "192.168.0.1", "10.0.0.1"),
)


@pytest.mark.parametrize("host", HOSTS)
async def test_b27_private_addresses_in_every_spelling(ingest: Ingest, canary: Canary, host: str) -> None:
    for scheme in ("http", "https"):
        assert await failed(ingest, f"{scheme}://{host}:{canary.port}/a.png") == "result_unusable"
    assert await failed(ingest, f"https://{host}/a.png") == "result_unusable"


async def test_b28_other_schemes_names_and_ports(ingest: Ingest, canary: Canary, provider: Provider) -> None:
    for url in (
        "file:///etc/passwd",
        f"gopher://127.0.0.1:{canary.port}/_x",
        f"ftp://127.0.0.1:{canary.port}/a.png",
        "data:image/png;base64," + "A" * 100_000,
        f"http://user:password@127.0.0.1:{provider.port}/a",
        f"https://good@127.0.0.1:{canary.port}/",
        f"https://good.example@127.0.0.1:{canary.port}/",
        "https://example.com:22/",
        "https://example.com:6379/",
        "http://example.com/",
        "https://",
        "//127.0.0.1/",
        "",
    ):
        assert await failed(ingest, url) == "result_unusable", url


async def test_b29_redirects_that_lead_home_or_nowhere(ingest: Ingest, canary: Canary, provider: Provider) -> None:
    for target in (
        f"http://127.0.0.1:{canary.port}/",
        f"https://127.0.0.1:{canary.port}/",
        f"//127.0.0.1:{canary.port}/",
        f"http://localhost:{canary.port}/",
        "file:///etc/passwd",
        "http://example.com/",
    ):

        async def redirect(_: web.Request, target: str = target) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": target})

        assert await failed(ingest, provider.url("away", redirect)) == "result_unusable", target

    async def onward(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/circle"})

    assert await failed(ingest, provider.url("circle", onward)) == "result_unusable"
    assert provider.asked["circle"] == 4, "three are followed"


async def test_b30_a_name_of_which_one_address_is_private(
    ingest: Ingest, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is resolved is what is connected to: runtime/tests/test_outbound.py has the rebinding name."""
    resolve = socket.getaddrinfo

    def mixed(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host != "mixed.example":
            return resolve(host, port, *rest, **more)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.216.34", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    assert await failed(ingest, "https://mixed.example/a.png") == "result_unusable"


async def test_b31_bodies_that_lie(ingest: Ingest, provider: Provider, objects: LocalObjects) -> None:
    async def bomb(_: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(bytes(MAX_BYTES * 10)), headers={"Content-Encoding": "gzip"})

    answers = {
        "too long": (too_long, "result_unusable"),
        "endless": (endless, "result_unusable"),
        "bomb": (bomb, "result_unusable"),
        "cut": (cut, "result_unreachable"),
        "drip": (drip, "result_unreachable"),
    }
    for kind in (Kind.IMAGE, Kind.VIDEO):
        for name, (answer, code) in answers.items():
            began = time.monotonic()
            assert await failed(ingest, provider.url(f"{kind}-{name}".replace(" ", "-"), answer), kind) == code
            assert time.monotonic() - began < GIVE_UP_SECONDS + 3
    assert await names(objects) == set()


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><script>alert(1)</script>",
        b"PK\x03\x04" + bytes(100),
        b"MZ" + bytes(100),
        b"\x7fELF" + bytes(100),
        b"%PDF-1.7\n",
        b"#!/bin/sh\n",
        b"{}",
        bytes(1000),
    ],
)
async def test_b32_a_picture_that_is_something_else(
    ingest: Ingest,
    provider: Provider,
    bus: Client,
    make: Make,
    content: bytes,
) -> None:
    """Whatever its name and its type say: 415 for an upload, a failure for a result."""
    assert await refused(make(), bus, content) == "unsupported_media"
    for kind in (Kind.IMAGE, Kind.VIDEO, Kind.SPEECH):
        assert await failed(ingest, provider.url("a.png", content), kind) == "result_unusable"


async def test_b33_polyglots(
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    bus: Client,
    make: Make,
) -> None:
    """JPEG and ZIP, PNG and HTML in one file: the picture stays, the rest goes. PDF is refused."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("evil.class", b"\xca\xfe\xba\xbe" * 10)
    for format_ in ("JPEG", "PNG", "WEBP"):
        for tail in (archive.getvalue(), b"<html><script>alert(1)</script></html>"):
            asset, content = await kept(ingest, provider, objects, picture(40, 30, format_) + tail)
            assert (asset.width, asset.height) == (40, 30)
            assert b"evil" not in content and b"script" not in content
            taken = await brought(make(), bus, picture(40, 30, format_) + tail)
            assert taken.asset is not None
    gifar = picture(40, 30, "GIF") + archive.getvalue()
    asset, content = await kept(ingest, provider, objects, gifar)
    assert (asset.mime_type, asset.width, b"evil" in content) == ("image/png", 40, False)
    assert (await brought(make(), bus, gifar)).asset is not None
    for content in (b"%PDF-1.7\n" + picture(format_="JPEG"), archive.getvalue() + picture()):
        assert await refused(make(), bus, content) == "unsupported_media"
        assert await failed(ingest, provider.url("a", content)) == "result_unusable"


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>',
    ],
)
async def test_b34_svg_and_xml(
    ingest: Ingest,
    provider: Provider,
    bus: Client,
    make: Make,
    content: bytes,
) -> None:
    assert await refused(make(), bus, content) == "unsupported_media"
    assert await failed(ingest, provider.url("a.svg", content)) == "result_unusable"


def animated_png(frames: int) -> bytes:
    """A still picture, and so many more frames behind it (APNG)."""
    still = png(8, 8, zlib.compress(b"\0" * 25 * 8))
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    rest = b"".join(
        chunk(b"fdAT", struct.pack(">I", number) + zlib.compress(b"\0" * 25 * 8)) for number in range(frames)
    )
    return still[:33] + control + still[33:-12] + rest + still[-12:]


def animated_gif(frames: int) -> bytes:
    """A picture that says it goes on for ever, and the same frame so often."""
    output = io.BytesIO()
    Image.new("P", (8, 8)).save(output, "GIF")
    still = output.getvalue()
    begin = still.index(b",")
    for_ever = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    return still[:begin] + for_ever + still[begin:-1] * frames + b";"


async def test_b35_bombs_are_refused_by_their_header(
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    bus: Client,
    make: Make,
) -> None:
    """50 000 x 50 000 pixels, a GIF that says 65 535 x 65 535, a TIFF; of 10 000 frames the first is kept."""
    output = io.BytesIO()
    Image.new("I;16", (64, 64)).save(output, "TIFF")
    for content in (png(50_000, 50_000, zlib.compress(b"\0")), HOSTILE["65535x65535 GIF"], output.getvalue()):
        began = time.process_time()
        assert await failed(ingest, provider.url("bomb", content)) == "result_unusable"
        assert time.process_time() - began < 0.5
        assert await refused(make(), bus, content) in UNUSABLE
    asset, content = await kept(ingest, provider, objects, animated_png(10_000))
    assert (asset.width, len(content) < 200) == (8, True)
    asset, content = await kept(ingest, provider, objects, animated_gif(50_000))
    assert (asset.mime_type, asset.width, len(content) < 200) == ("image/png", 8, True)


async def test_b36_broken_and_unusual_pictures(
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    bus: Client,
    make: Make,
) -> None:
    sound = picture(64, 48, "JPEG", seed=1)
    broken = [sound[: len(sound) // 2], damaged(picture(64, 48, seed=1), 100), b"", b"\xff\xd8\xff"]
    broken += [HOSTILE[name] for name in ("AVIF of nothing", "half an AVIF", "half a GIF", "HEIC")]
    for content in broken:
        assert await failed(ingest, provider.url("broken", content)) == "result_unusable"
        assert await refused(make(), bus, content) in UNUSABLE
    said = (await brought(make(), bus, HOSTILE["HEIC"])).failure
    assert said is not None
    assert "HEIC pictures are not taken here: send them as JPEG, PNG or WebP" in said.message
    cmyk, profiled, moving = io.BytesIO(), io.BytesIO(), io.BytesIO()
    image = Image.open(io.BytesIO(sound))
    image.convert("CMYK").save(cmyk, "JPEG")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image.save(profiled, "PNG", icc_profile=profile)
    image.save(moving, "WEBP", save_all=True, append_images=[image.rotate(90)], duration=100)
    for unusual in (cmyk, profiled, moving):
        asset, _ = await kept(ingest, provider, objects, unusual.getvalue())
        assert (asset.width, asset.height) == (64, 48)
        assert (await brought(make(), bus, unusual.getvalue())).asset is not None

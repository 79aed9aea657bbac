"""What an address of ours answers: `GET` and `HEAD` of /media/<token>/<variant>.<extension>, over real HTTP."""

import asyncio
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from PIL import Image
from yarl import URL

from contracts.media import address
from runtime.database import Database
from runtime.settings import DatabaseSettings
from storage.access import Access
from storage.ingest import Ingest
from storage.media import Media
from storage.objects import CHUNK_BYTES, Buffer
from storage.objects.local import LocalObjects
from storage.ranges import Unsatisfiable, asked_range, matches
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import OPEN, Provider, rendered, rows
from .serving import Stored, served

pytestmark = pytest.mark.connected

SIGNING_KEY = "a signing key"


@pytest.fixture
async def signed_base(database: Database, objects: LocalObjects, workshop: Workshop) -> AsyncIterator[str]:
    async with served(
        Media(database, objects, Variants(database, objects, workshop), Access(SIGNING_KEY, all_signed=True))
    ) as base:
        yield base


async def test_an_original_loads_without_a_token(base: str, http: aiohttp.ClientSession, stored: Stored) -> None:
    async with http.get(f"{base}/media/{stored.asset.key}") as answer:
        assert answer.status == 200
        assert await answer.read() == stored.content
        headers = answer.headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Length"] == str(len(stored.content))
    assert headers["ETag"] == f'"{hashlib.sha256(stored.content).hexdigest()}"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Content-Disposition"] == f'inline; filename="{stored.asset.key[:8]}-original.jpg"'
    assert headers["Accept-Ranges"] == "bytes"


async def test_head_says_the_same_without_the_bytes(base: str, http: aiohttp.ClientSession, stored: Stored) -> None:
    async with http.head(f"{base}/media/{stored.asset.key}", headers={"Range": "bytes=0-1"}) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(stored.content))


async def test_known_content_is_not_sent_again(base: str, http: aiohttp.ClientSession, stored: Stored) -> None:
    tag = f'"{stored.asset.sha256}"'
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        async with http.get(f"{base}/media/{stored.asset.key}", headers={"If-None-Match": given}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == tag
            assert "immutable" in answer.headers["Cache-Control"]
    async with http.get(f"{base}/media/{stored.asset.key}", headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200
    lines = CIMultiDict([("If-None-Match", tag), ("If-None-Match", '"other"')])
    async with http.get(f"{base}/media/{stored.asset.key}", headers=lines) as answer:
        assert answer.status == 304


async def test_who_means_other_content_is_told(base: str, http: aiohttp.ClientSession, stored: Stored) -> None:
    """RFC 9110, 13.1.1: compared strongly, and before everything else."""
    tag = f'"{stored.asset.sha256}"'
    for given, status in ((tag, 200), ("*", 200), (f'"other", {tag}', 200), ('"other"', 412), (f"W/{tag}", 412)):
        async with http.get(f"{base}/media/{stored.asset.key}", headers={"If-Match": given}) as answer:
            assert answer.status == status
    async with http.get(
        f"{base}/media/{stored.asset.key}", headers={"If-Match": '"other"', "If-None-Match": tag}
    ) as answer:
        assert (answer.status, (await answer.json())["error"]) == (412, "precondition_failed")


async def test_a_page_of_another_origin_may_ask_with_headers_of_its_own(
    base: str, http: aiohttp.ClientSession, stored: Stored
) -> None:
    """The gateway sends its reader on to here, and a browser asks both beforehand."""
    asked = {"Origin": "https://elsewhere", "Access-Control-Request-Method": "GET"}
    async with http.options(f"{base}/media/{stored.asset.key}", headers=asked) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
        assert answer.headers["Access-Control-Allow-Headers"] == "*, authorization"


async def test_a_part_is_sent(base: str, http: aiohttp.ClientSession, stored: Stored) -> None:
    size = len(stored.content)
    url = f"{base}/media/{stored.asset.key}"
    for given, part in (("bytes=0-9", (0, 10)), ("bytes=10-", (10, size)), ("bytes=-7", (size - 7, size))):
        async with http.get(url, headers={"Range": given}) as answer:
            assert answer.status == 206
            assert await answer.read() == stored.content[slice(*part)]
            assert answer.headers["Content-Range"] == f"bytes {part[0]}-{part[1] - 1}/{size}"
    async with http.get(url, headers={"Range": f"bytes={size}-"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=0-1,3-4", "bytes=5-1", "lines=1-2", "bytes=", "bytes=-"):
        async with http.get(url, headers={"Range": ignored}) as answer:
            assert (answer.status, await answer.read()) == (200, stored.content)
    whole = f'"{stored.asset.sha256}"'
    for tag, status in ((whole, 206), (f"W/{whole}", 200), ('"older"', 200)):
        async with http.get(url, headers={"Range": "bytes=0-1", "If-Range": tag}) as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=99-", (99, 100)),
        ("bytes=0-10000", (0, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes= 1 - 2", (1, 3)),
        ("bytes=1-2,", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "9" * 40 + "-", None),
        ("", None),
        ("bytes=100-", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
    ],
)
def test_ranges_are_read_strictly(header: str, expected: Any) -> None:
    """RFC 9110, 14.1.2."""
    if expected is Unsatisfiable:
        with pytest.raises(Unsatisfiable):
            asked_range(header, 100)
    else:
        assert asked_range(header, 100) == expected
    assert not matches(None, "a")


@pytest.mark.parametrize(
    "path",
    [
        "/media/" + "0" * 32 + "/original.png",
        "/media/{token}/original.png",
        "/media/{token}/original.jpeg",
        "/media/{token}/large.webp",
        "/media/{token}/original",
        "/media/{token}/",
        "/media/{token}",
        "/media/",
        "/media/{upper}/original.jpg",
        "/media/{token}/original.jpg/",
        "/media//{token}/original.jpg",
        "/media/%2e%2e/{token}/original.jpg",
        "/media/{token}/%2e%2e/{token}/original.jpg",
        "/media/..%2f..%2fetc%2fpasswd",
        "/media/{token}/original.jpg%00.png",
        "/media/{token}/original.jpg%0a",
        "/{token}/original.jpg",
        "/media/{object}",
        "/",
    ],
)
async def test_no_other_address_leads_anywhere(
    base: str, http: aiohttp.ClientSession, stored: Stored, path: str
) -> None:
    """B40: traversal, guesses and foreign names are 404 in the shape of all errors."""
    token = stored.asset.key[:32]
    path = path.format(token=token, upper=token.upper().replace("0", "A"), object=stored.object_name)
    async with http.get(URL(base + path, encoded=True)) as answer:
        assert answer.status == 404
        body = await answer.json()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
    assert body == {
        "error": "not_found",
        "message": "There is no such media.",
        "detail": "There is no such media.",
        "statusCode": 404,
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_media_is_only_read(base: str, http: aiohttp.ClientSession, stored: Stored, method: str) -> None:
    async with http.request(method, f"{base}/media/{stored.asset.key}") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_unfinished_assets_are_not_served(
    base: str, http: aiohttp.ClientSession, stored: Stored, database: Database
) -> None:
    """Design §3.8: served is what is stored."""
    await rows(database, "UPDATE assets SET state = 'writing' WHERE id = :id", id=stored.asset.id)
    for key in (stored.asset.key, *stored.asset.variants.values()):
        async with http.get(f"{base}/media/{key}") as answer:
            assert answer.status == 404


async def test_lost_bytes_are_missed_not_broken(
    base: str, http: aiohttp.ClientSession, stored: Stored, objects: LocalObjects
) -> None:
    await objects.delete(stored.object_name)
    for key in (stored.asset.key, *stored.asset.variants.values()):
        async with http.get(f"{base}/media/{key}") as answer:
            assert answer.status == 404


async def test_a_database_that_is_away_is_said(objects: LocalObjects, http: aiohttp.ClientSession) -> None:
    nowhere = DatabaseSettings(database_url="postgresql://x:x@127.0.0.1:9/x")  # type: ignore[arg-type]
    away = Database(nowhere, "storage-tests")
    async with (
        served(Media(away, objects, Variants(away, objects, Workshop()), OPEN)) as base,
        http.get(f"{base}/media/{'0' * 32}/original.png") as answer,
    ):
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    await away.close()


async def test_a_large_object_is_streamed(
    base: str, http: aiohttp.ClientSession, ingest: Ingest, provider: Provider
) -> None:
    output = io.BytesIO()
    Image.effect_noise((1100, 1100), 90).save(output, "PNG")
    content = output.getvalue()
    assert len(content) > 2 * CHUNK_BYTES
    [asset] = (await ingest.store(rendered(provider.url("large", content)))).data.assets
    async with http.get(f"{base}/media/{asset.key}") as answer:
        assert await answer.read() == content
    async with http.get(f"{base}/media/{asset.key}") as answer:
        await answer.content.read(10)  # and leave: the server must not mind
    async with http.get(f"{base}/media/{asset.key}", headers={"Range": "bytes=300000-900000"}) as answer:
        assert await answer.read() == content[300000:900001]


async def test_nothing_is_read_for_who_hung_up(
    base: str, stored: Stored, objects: LocalObjects, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A player that looks for a place in a film asks, leaves, and asks again."""
    size = 64 << 20
    os.truncate(f"{objects._root}/{stored.object_name}", size)
    await rows(database, "UPDATE assets SET size_bytes = :size WHERE id = :id", size=size, id=stored.asset.id)
    really, taken, ended = objects.pieces, 0, asyncio.Event()

    async def counted(*arguments: Any) -> AsyncIterator[Buffer]:
        nonlocal taken
        try:
            async for piece in really(*arguments):
                taken += len(piece)
                yield piece
        finally:
            ended.set()

    monkeypatch.setattr(objects, "pieces", counted)
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(base).port)
    writer.write(f"GET /media/{stored.asset.key} HTTP/1.1\r\nHost: media\r\n\r\n".encode())
    await reader.readexactly(1000)
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 60)
    assert taken < size // 2


# -- signed ---------------------------------------------------------------------------------------------------


async def test_signed_addresses_load_and_expire(signed_base: str, http: aiohttp.ClientSession, stored: Stored) -> None:
    url = address(signed_base, stored.asset.key, SIGNING_KEY, lifetime_seconds=60)
    async with http.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, stored.content)
        private, age = answer.headers["Cache-Control"].split(", max-age=")
        assert private == "private"
        assert 0 < int(age) <= 60
    async with http.get(address(signed_base, stored.asset.variants["thumbnail"], SIGNING_KEY)) as answer:
        assert answer.status == 200


async def test_without_a_good_signature_nothing_is_told(
    signed_base: str, http: aiohttp.ClientSession, stored: Stored
) -> None:
    key = stored.asset.key
    url = f"{signed_base}/media/{key}"
    good = address("", key, SIGNING_KEY).partition("?")[2]
    expires, _, signature = good.partition("&")
    for query in (
        "",
        "?expires=9999999999",
        f"?{signature}",
        f"?{expires}&signature={'0' * 64}",
        f"?{expires}&signature=%C3%A9",
        f"?expires={int(time.time()) + 99999}&{signature}",
        f"?expires=-1&{signature}",
        f"?expires=abc&{signature}",
        f"?expires={'9' * 5000}&{signature}",
        "?" + address("", key, SIGNING_KEY, lifetime_seconds=-1).partition("?")[2],
        "?" + address("", key, "another key").partition("?")[2],
        "?" + address("", stored.asset.variants["medium"], SIGNING_KEY).partition("?")[2],
    ):
        async with http.get(URL(url + query, encoded=True)) as answer:
            assert answer.status == 403, query
    unknown = "0" * 32 + "/original.png"
    async with http.get(f"{signed_base}/media/{unknown}") as answer:
        assert answer.status == 403
    async with http.get(address(signed_base, unknown, SIGNING_KEY)) as answer:
        assert answer.status == 404

"""Others that send the bytes: nginx by X-Accel-Redirect, the bucket by a presigned address; and downloads."""

import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from yarl import URL

from bench.serving import HANDED_OVER, nginx, nginx_path
from contracts.facts import Asset
from runtime.database import Database
from storage.assets import Named
from storage.downloads import Downloads
from storage.handover import ToProxy, ToStore
from storage.ingest import Ingest
from storage.media import ALWAYS, Media
from storage.objects import Objects
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.preparation import Preparation
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import OPEN, Provider, picture, rendered
from .serving import served

pytestmark = pytest.mark.connected
CONTENT = picture(400, 300, "JPEG", seed=5)


def media(database: Database, objects: Objects, workshop: Workshop, handover: Any = None) -> Media:
    return Media(database, objects, Variants(database, objects, workshop), OPEN, handover)


async def stored(ingest: Ingest, provider: Provider) -> Asset:
    [asset] = (await ingest.store(rendered(provider.url("a", CONTENT)))).data.assets
    return asset


async def test_a_download_is_kept_as_a_file_with_a_safe_name(
    database: Database, objects: LocalObjects, workshop: Workshop, ingest: Ingest, provider: Provider, http: Any
) -> None:
    """B40: whatever a client writes there, the name is ours."""
    asset = await stored(ingest, provider)
    name = f'filename="{asset.key[:8]}-original.jpg"'
    async with served(media(database, objects, workshop)) as base:
        for query, expected in (
            ("?download=1", f"attachment; {name}"),
            ("?download=0", f"inline; {name}"),
            ("?download=../../x%0d%0aset-cookie:a", f"inline; {name}"),
            ("?download=1&filename=-rf%22;x", f"attachment; {name}"),
        ):
            async with http.get(f"{base}/media/{asset.key}{query}") as answer:
                assert (answer.status, answer.headers["Content-Disposition"]) == (200, expected)
                assert "Set-Cookie" not in answer.headers


async def test_a_proxy_is_told_which_file_to_send(
    database: Database,
    objects: LocalObjects,
    workshop: Workshop,
    ingest: Ingest,
    provider: Provider,
    http: Any,
    tmp_path: Path,
) -> None:
    asset = await stored(ingest, provider)
    async with served(media(database, objects, workshop, ToProxy("/kept/"))) as base:
        async with http.get(f"{base}/media/{asset.key}", headers={"Range": "bytes=0-9"}) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            prefix, _, name = answer.headers["X-Accel-Redirect"].removeprefix("/").partition("/")
            assert prefix == "kept"
            assert (tmp_path / "media" / name).read_bytes() == CONTENT, "nginx looks for Range itself"
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert answer.headers["ETag"] == f'"{asset.sha256}"'
        async with http.get(f"{base}/media/{asset.key}", headers={"If-None-Match": f'"{asset.sha256}"'}) as answer:
            assert (answer.status, "X-Accel-Redirect" in answer.headers) == (304, False)
        async with http.head(f"{base}/media/{asset.key}") as answer:
            assert answer.headers["Content-Length"] == str(len(CONTENT))


if nginx_path() is None:
    warnings.warn("nginx is not installed: that it sends what it is told to is not tried here", stacklevel=1)
else:

    async def test_nginx_sends_what_it_is_told_to(
        database: Database,
        objects: LocalObjects,
        workshop: Workshop,
        ingest: Ingest,
        provider: Provider,
        http: Any,
        tmp_path: Path,
    ) -> None:
        """A real one in front: Range and HEAD are its affair, headers are ours, and nobody gets in past us."""
        asset = await stored(ingest, provider)
        async with served(media(database, objects, workshop, ToProxy(HANDED_OVER))) as base:
            with nginx(tmp_path / "nginx", tmp_path / "media", base) as (front, _):
                address = f"{front}/media/{asset.key}"
                async with http.get(address) as answer:
                    assert (answer.status, await answer.read()) == (200, CONTENT)
                    assert answer.headers["Content-Type"] == "image/jpeg"
                    assert answer.headers["ETag"] == f'"{asset.sha256}"'
                    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
                    assert answer.headers["Content-Disposition"].startswith("inline; ")
                    assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS, (
                        "all that nginx would leave out by itself"
                    )
                    assert "X-Accel-Redirect" not in answer.headers
                async with http.get(address, headers={"Range": "bytes=5-9"}) as answer:
                    assert (answer.status, await answer.read()) == (206, CONTENT[5:10])
                    assert answer.headers["Content-Range"] == f"bytes 5-9/{len(CONTENT)}"
                async with http.head(address) as answer:
                    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))
                async with http.get(address, headers={"If-None-Match": f'"{asset.sha256}"'}) as answer:
                    assert answer.status == 304
                kept = next((tmp_path / "media").rglob(asset.sha256)).relative_to(tmp_path / "media")
                async with http.get(f"{front}{HANDED_OVER}/{kept}") as answer:
                    assert answer.status == 404, "the location is internal"
                async with http.get(f"{front}/media/{'0' * 32}/original.jpg") as answer:
                    assert answer.status == 404


async def test_the_bucket_sends_what_is_in_it(
    database: Database,
    broker: Any,
    downloads: Downloads,
    preparation: Preparation,
    bucket: MinioObjects,
    workshop: Workshop,
    provider: Provider,
    http: Any,
) -> None:
    """A type and a disposition stand in the signature: nobody can have it shown as something else."""
    asset = await stored(Ingest(database, broker, downloads, bucket, preparation), provider)
    async with served(media(database, bucket, workshop, ToStore(bucket, 60))) as base:
        async with http.get(f"{base}/media/{asset.key}?download=1", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (307, "private, max-age=30")
            address = answer.headers["Location"]
        async with http.get(f"{base}/media/{asset.key}?download=1") as answer:
            assert (answer.status, await answer.read()) == (200, CONTENT)
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert answer.headers["Content-Disposition"].startswith("attachment; ")
        async with http.get(address.replace("image%2Fjpeg", "text%2Fhtml")) as answer:
            assert answer.status == 403
        async with http.get(address, headers={"Range": "bytes=0-9"}) as answer:
            assert (answer.status, await answer.read()) == (206, CONTENT[:10])


async def test_an_address_of_the_bucket_lives_no_longer_than_the_one_that_led_to_it(bucket: MinioObjects) -> None:
    named = Named(f"{uuid4()}/{'0' * 64}", "0" * 64, 1, "image/jpeg")
    for seconds_left, expected in ((None, 60), (3600, 60), (3, 3), (0, 1)):
        _, headers = await ToStore(bucket, 60).answer(named, {"content-disposition": "inline"}, seconds_left)
        assert URL(headers["location"]).query["X-Amz-Expires"] == str(expected)
        assert headers["cache-control"] == f"private, max-age={expected // 2}"


async def test_a_bucket_that_is_away_is_said(
    database: Database, objects: LocalObjects, workshop: Workshop, ingest: Ingest, provider: Provider, http: Any
) -> None:
    asset = await stored(ingest, provider)
    nowhere = MinioObjects("http://127.0.0.1:9", "media", "key", "secret", "")
    away = media(database, objects, workshop, ToStore(nowhere, 60))
    async with served(away) as base, http.get(f"{base}/media/{asset.key}") as answer:
        assert answer.status == 503
    await nowhere.close()

"""Smaller pictures, posters, waveforms and blurhashes: made when they are first asked for, and once."""

import asyncio
import gc
import hashlib
import io
from typing import Any

import aiohttp
import pytest
from blurhash import is_valid_blurhash
from PIL import Image

from contracts.facts import Kind
from runtime.database import Database
from storage import assets
from storage.ingest import Ingest
from storage.objects.local import LocalObjects
from storage.variants import Variants
from storage.workshop import Workshop

from .recorded import sound, video
from .samples import Provider, names, rendered, rows
from .serving import Stored

pytestmark = pytest.mark.connected


async def test_variants_are_made_when_first_asked_for(
    base: str, http: aiohttp.ClientSession, stored: Stored, objects: LocalObjects, database: Database
) -> None:
    """Their addresses are known before; the outcome did not wait for them."""
    assert await names(objects) == {stored.object_name}
    for variant, size in (("medium", (1024, 512)), ("thumbnail", (256, 128))):
        answers = await asyncio.gather(*(http.get(f"{base}/media/{stored.asset.variants[variant]}") for _ in range(8)))
        contents = {await answer.read() for answer in answers}
        assert {answer.status for answer in answers} == {200}
        [content] = contents
        assert {answer.headers["ETag"] for answer in answers} == {f'"{hashlib.sha256(content).hexdigest()}"'}
        assert answers[0].headers["Content-Type"] == "image/webp"
        small = Image.open(io.BytesIO(content))
        assert (small.format, small.size) == ("WEBP", size)
    assert len(await names(objects)) == 3
    made = await rows(database, "SELECT * FROM variants WHERE asset_id = :id", id=stored.asset.id)
    assert {(row["name"], row["state"]) for row in made} == {("medium", "stored"), ("thumbnail", "stored")}


async def test_a_video_has_a_poster_and_speech_has_a_waveform(
    base: str, http: aiohttp.ClientSession, ingest: Ingest, provider: Provider, database: Database
) -> None:
    of_film = rendered(provider.url("v", video(1600, 800, 1)), kind=Kind.VIDEO)
    of_speech = rendered(provider.url("s", sound(2)), kind=Kind.SPEECH)
    [film], [speech] = [(await ingest.store(fact)).data.assets for fact in (of_film, of_speech)]
    for variant, size in (("poster", (1600, 800)), ("medium", (1024, 512)), ("thumbnail", (256, 128))):
        async with http.get(f"{base}/media/{film.variants[variant]}") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
            image = Image.open(io.BytesIO(await answer.read()))
            assert (image.format, image.size) == ("WEBP", size)
    async with http.get(f"{base}/media/{film.key}", headers={"Range": "bytes=0-99"}) as answer:
        assert (answer.status, answer.headers["Content-Type"], len(await answer.read())) == (206, "video/mp4", 100)
    async with http.get(f"{base}/media/{speech.variants['waveform']}") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert (await answer.json())["length"] > 100
    for missing in (
        film.key.replace("original.mp4", "waveform.json"),
        speech.key.replace("original.mp3", "poster.webp"),
    ):
        async with http.get(f"{base}/media/{missing}") as answer:
            assert answer.status == 404


async def test_a_blurhash_is_found_out_with_the_first_variant(
    base: str, http: aiohttp.ClientSession, stored: Stored, database: Database
) -> None:
    """Where a picture is decoded anyway, and never on the way of a generation (ADR 8)."""
    assert stored.asset.blurhash is None
    query = "SELECT blurhash FROM assets WHERE id = :id"
    assert (await rows(database, query, id=stored.asset.id))[0]["blurhash"] is None
    async with http.get(f"{base}/media/{stored.asset.variants['thumbnail']}") as answer:
        assert answer.status == 200
    [row] = await rows(database, query, id=stored.asset.id)
    assert is_valid_blurhash(row["blurhash"])


async def test_a_variant_is_made_once(
    base: str, http: aiohttp.ClientSession, stored: Stored, database: Database
) -> None:
    url = f"{base}/media/{stored.asset.variants['thumbnail']}"
    async with http.get(url) as answer:
        content = await answer.read()
    await rows(database, "UPDATE assets SET sha256 = :nowhere WHERE id = :id", nowhere="0" * 64, id=stored.asset.id)
    async with http.get(url) as answer:
        assert await answer.read() == content
    async with http.head(url) as answer:
        assert answer.headers["Content-Length"] == str(len(content))


async def test_killed_while_making_a_variant(
    base: str, http: aiohttp.ClientSession, stored: Stored, database: Database
) -> None:
    """P17: a row without bytes, even of other bytes, is finished by the next who asks."""
    await rows(
        database,
        "INSERT INTO variants (asset_id, name, size_bytes, sha256) VALUES (:id, 'thumbnail', 5, :other)",
        id=stored.asset.id,
        other="1" * 64,
    )
    async with http.get(f"{base}/media/{stored.asset.variants['thumbnail']}") as answer:
        assert (answer.status, Image.open(io.BytesIO(await answer.read())).size) == (200, (256, 128))
    [row] = await rows(database, "SELECT * FROM variants WHERE asset_id = :id", id=stored.asset.id)
    assert (row["state"], row["sha256"] == "1" * 64) == ("stored", False)


async def test_what_cannot_be_made_is_404_and_harms_nobody(
    base: str, http: aiohttp.ClientSession, stored: Stored, objects: LocalObjects, tmp_path: Any
) -> None:
    """P29: bytes that broke on the disk."""
    (tmp_path / "media" / stored.object_name).write_bytes(b"\x89PNG broken")
    async with http.get(f"{base}/media/{stored.asset.variants['medium']}") as answer:
        assert answer.status == 404


async def test_what_cannot_be_made_is_not_complained_of_when_nobody_waits_for_it(
    stored: Stored, database: Database, objects: LocalObjects, workshop: Workshop, tmp_path: Any
) -> None:
    """Whoever asked went away: asyncio would say with a traceback that nobody heard of it."""
    (tmp_path / "media" / stored.object_name).write_bytes(b"\x89PNG broken")
    sought = await assets.seek(database, stored.asset.key[:32], "medium")
    assert sought is not None
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    asker = asyncio.create_task(Variants(database, objects, workshop).get(sought, "medium"))
    await asyncio.sleep(0)
    [made] = [task for task in asyncio.all_tasks() if task.get_name() == "make medium"]
    asker.cancel()
    await asyncio.wait([asker, made])
    del made
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert (asker.cancelled(), said) == (True, [])

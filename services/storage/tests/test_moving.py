"""Moving between backends while both are in use: no address stops working, every copy is proven (P17)."""

import asyncio
import hashlib
import io
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import aiohttp
import pytest
from sqlalchemy import text

from runtime.database import Database
from storage.downloads import Downloads
from storage.ingest import Ingest
from storage.media import Media
from storage.moving import Moved, move
from storage.objects import Objects, name_of
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.objects.moving import MovingObjects
from storage.preparation import Preparation
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import OPEN, Provider, names, picture, rendered, rows
from .serving import served
from .test_objects import Conformance

pytestmark = pytest.mark.connected

ONE_ELSEWHERE = text("""
    INSERT INTO assets (id, index, owner_id, token, state, mime_type, size_bytes, sha256, backend)
    VALUES (:id, 0, :id, :token, 'stored', 'image/png', 1, repeat('0', 64), 'local')
""")


@pytest.fixture
async def bucket(s3_server: Any) -> AsyncIterator[MinioObjects]:
    keys = s3_server.access_key, s3_server.secret_key
    bucket = MinioObjects(s3_server.endpoint, s3_server.bucket, *keys, "us-east-1")
    for name in await names(bucket):
        await bucket.delete(name)
    yield bucket
    await bucket.close()


async def put(objects: Objects, content: bytes) -> str:
    name = name_of(uuid4(), hashlib.sha256(content).hexdigest())
    await objects.put(name, io.BytesIO(content), len(content))
    return name


class TestMoving(Conformance):
    """Two stores are a store, too."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[MovingObjects]:  # type: ignore[override]
        store = MovingObjects(LocalObjects(tmp_path / "new"), LocalObjects(tmp_path / "old"))
        yield store
        await store.close()

    async def test_what_is_still_in_the_former_store_is_there(self, store: MovingObjects) -> None:
        name = await put(store.former, b"kept before")
        assert await store.size(name) == 11
        assert b"".join([chunk async for chunk in store.open(name, 5)]) == b"before"
        assert name in await names(store)
        await store.delete(name)
        assert (await store.size(name), await store.former.size(name)) == (None, None)


@pytest.mark.parametrize("to_bucket", [True, False])
async def test_all_is_copied_and_nothing_twice(
    objects: LocalObjects, bucket: MinioObjects, database: Database, to_bucket: bool
) -> None:
    former, current = (objects, bucket) if to_bucket else (bucket, objects)
    contents = [os.urandom(size) for size in (0, 1, 1000, 300_000, 1_500_000)]
    expected = {await put(former, content) for content in contents}
    moved = await move(former, current, database)
    assert moved == Moved(copied=5, copied_bytes=sum(map(len, contents)))
    assert await names(current) == await names(former) == expected
    assert await move(former, current, database) == Moved(there=5)


async def test_stopped_in_the_middle_it_goes_on(
    objects: LocalObjects, bucket: MinioObjects, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        await put(objects, str(number).encode())
    keep, kept, enough = bucket.put, itertools.count(1), asyncio.Event()

    async def put_some(name: str, data: IO[bytes], size: int) -> None:
        await keep(name, data, size)
        if next(kept) >= 10:
            enough.set()
            await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(bucket, "put", put_some)
        moving = asyncio.create_task(move(objects, bucket, database))
        await enough.wait()
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
    assert len(await names(bucket)) < 60
    moved = await move(objects, bucket, database)
    assert (moved.copied + moved.there, moved.damaged) == (60, 0)
    assert moved.there >= 10
    assert await names(bucket) == await names(objects)


async def test_p17_what_is_damaged_is_said_and_not_spread(
    objects: LocalObjects, bucket: MinioObjects, database: Database, tmp_path: Path
) -> None:
    good, bad = await put(objects, b"good bytes"), await put(objects, b"other bytes")
    (tmp_path / "media" / bad).write_bytes(b"OTHER BYTES")
    assert await move(objects, bucket, database) == Moved(copied=1, copied_bytes=10, damaged=1)
    assert await names(bucket) == {good}


async def test_no_address_breaks_while_everything_moves(
    database: Database,
    broker: Any,
    downloads: Downloads,
    preparation: Preparation,
    objects: LocalObjects,
    bucket: MinioObjects,
    workshop: Workshop,
    provider: Provider,
) -> None:
    """Under load: readers of everything, a writer of more; then the former store is taken away."""
    before = Ingest(database, broker, downloads, objects, preparation)
    known: dict[str, str] = {}

    async def store(ingest: Ingest, number: int) -> None:
        fact = rendered(provider.url(f"m{number}", picture(60, 40)))
        [asset] = (await ingest.store(fact)).data.assets
        known[asset.key] = asset.sha256

    for number in range(40):
        await store(before, number)
    moving = MovingObjects(bucket, objects)
    media = Media(database, moving, Variants(database, moving, workshop), OPEN)
    ended = asyncio.Event()
    wrong: list[str] = []
    read = 0

    async def look(http: aiohttp.ClientSession, base: str) -> None:
        nonlocal read
        while not ended.is_set():
            for key, sha256 in list(known.items()):
                async with http.get(f"{base}/media/{key}") as answer:
                    content = await answer.read()
                    if answer.status != 200 or hashlib.sha256(content).hexdigest() != sha256:
                        wrong.append(key)
                    read += 1

    async def write() -> None:
        ingest = Ingest(database, broker, downloads, moving, preparation)
        for number in range(40, 60):
            await store(ingest, number)

    async with served(media) as base, aiohttp.ClientSession() as http:
        readers = [asyncio.create_task(look(http, base)) for _ in range(3)]
        moved, _ = await asyncio.gather(move(objects, bucket, database), write())
        ended.set()
        await asyncio.gather(*readers)
        assert (moved.copied, moved.damaged, wrong) == (40, 0, [])
        assert read > 60
    alone = Media(database, bucket, Variants(database, bucket, workshop), OPEN)
    async with served(alone) as base, aiohttp.ClientSession() as http:
        for key, sha256 in known.items():
            async with http.get(f"{base}/media/{key}") as answer:
                assert hashlib.sha256(await answer.read()).hexdigest() == sha256
    backends = await rows(
        database, "SELECT DISTINCT backend FROM assets WHERE token = ANY(:tokens)", tokens=[key[:32] for key in known]
    )
    assert [row["backend"] for row in backends] == ["s3"]


async def test_what_the_former_store_has_not_is_no_end_of_the_move(
    database: Database,
    broker: Any,
    downloads: Downloads,
    preparation: Preparation,
    objects: LocalObjects,
    bucket: MinioObjects,
    provider: Provider,
    tmp_path: Path,
) -> None:
    """A folder that is not storage's looks like one from which all has gone."""
    fact = rendered(provider.url("left", picture(60, 40)))
    [asset] = (await Ingest(database, broker, downloads, objects, preparation).store(fact)).data.assets
    another = LocalObjects(tmp_path / "another")
    moved = await move(another, bucket, database)
    assert (moved.copied, moved.left, moved.named) == (0, 1, [asset.id])
    await another.close()
    moved = await move(objects, bucket, database)
    assert (moved.copied, moved.left, moved.named) == (1, 0, [])


async def test_the_command_moves_and_says_what_it_did(
    objects: LocalObjects, bucket: MinioObjects, database: Database, database_url: str, s3_server: Any, tmp_path: Path
) -> None:
    name = await put(objects, b"a picture")
    environment = {
        "PATH": os.environ["PATH"],
        "MEDIA_STORAGE_BACKEND": "s3",
        "MEDIA_FORMER_BACKEND": "local",
        "MEDIA_ROOT": str(tmp_path / "media"),
        "S3_ENDPOINT": s3_server.endpoint,
        "AWS_S3_BUCKET": s3_server.bucket,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "STORAGE_DATABASE_URL": database_url,
    }
    command = [sys.executable, "-m", "darkroom", "media", "move", "--data", str(tmp_path / "none")]
    for said in ("1 objects copied (0.0 MB), 0 were there, 0 damaged.", "0 objects copied (0.0 MB), 1 were there"):
        run = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert said in run.stdout
        assert s3_server.secret_key not in run.stdout + run.stderr
    assert await names(bucket) == {name}
    root, environment["MEDIA_ROOT"] = environment["MEDIA_ROOT"], str(tmp_path / "nothing")
    run = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    assert (run.returncode, "MEDIA_ROOT is no folder" in run.stderr) == (2, True)
    environment["MEDIA_ROOT"] = root
    async with database.statement() as connection:
        await connection.execute(ONE_ELSEWHERE, {"id": (lost := uuid4()), "token": lost.hex})
    run = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    assert (run.returncode, "1 assets are not in s3. " in run.stderr, str(lost) in run.stderr) == (1, True, True)
    del environment["MEDIA_FORMER_BACKEND"]
    run = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    assert (run.returncode, "MEDIA_FORMER_BACKEND" in run.stderr) == (2, True)

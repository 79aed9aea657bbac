"""One conformance suite for every object store (design.md §3.8: completed means we own the bytes)."""

import asyncio
import hashlib
import io
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import urllib3
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from yarl import URL

from runtime.health import is_transient
from storage.objects import CHUNK_BYTES, Absent, Objects, name_of
from storage.objects.local import ABANDONED_SECONDS, PIECE_BYTES, READ_BYTES, LocalObjects
from storage.objects.minio import MinioObjects

PATH = "/storage/v1/s3"


def named(content: bytes) -> str:
    return name_of(uuid4(), hashlib.sha256(content).hexdigest())


async def read(objects: Objects, name: str, offset: int = 0, length: int | None = None) -> bytes:
    async with aclosing(objects.open(name, offset, length)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def all_names(objects: Objects) -> set[str]:
    return {name async for batch in objects.names() for name in batch}


class Conformance:
    """What a store promises."""

    @pytest.fixture
    def store(self) -> Objects:
        raise NotImplementedError

    @pytest.mark.parametrize("size", [0, 1, 64_000, CHUNK_BYTES, CHUNK_BYTES + 1, 6_000_000])
    async def test_what_was_put_is_read(self, store: Objects, size: int) -> None:
        content = os.urandom(size)
        name = named(content)
        await store.put(name, io.BytesIO(content), size)
        assert await read(store, name) == content
        assert await store.size(name) == size
        put_at = await store.put_at(name)
        assert put_at is not None and abs(datetime.now(UTC) - put_at) < timedelta(minutes=5)

    async def test_a_file_on_disk_is_put_from_its_beginning(self, store: Objects) -> None:
        content = os.urandom(100_000)
        with SpooledTemporaryFile(1000) as spooled:
            spooled.write(content)
            await store.put(named(content), spooled, len(content))
        [found] = [name for name in await all_names(store) if name.endswith(hashlib.sha256(content).hexdigest())]
        assert await read(store, found) == content

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 1), (10, 5), (99, 1), (99, 10), (50, None), (0, 100), (0, 0), (100, 0)]
    )
    async def test_a_part_is_read(self, store: Objects, offset: int, length: int | None) -> None:
        content = os.urandom(100)
        name = named(content)
        await store.put(name, io.BytesIO(content), 100)
        end = None if length is None else offset + length
        assert await read(store, name, offset, length) == content[offset:end]

    async def test_a_large_part_comes_in_chunks(self, store: Objects) -> None:
        content = os.urandom(3 * CHUNK_BYTES)
        name = named(content)
        await store.put(name, io.BytesIO(content), len(content))
        async with aclosing(store.open(name, 5, len(content) - 10)) as chunks:
            received = [chunk async for chunk in chunks]
        assert b"".join(received) == content[5:-5]
        assert len(received) > 1
        assert max(map(len, received)) <= CHUNK_BYTES

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, None), (0, READ_BYTES), (4096, READ_BYTES + 1), (5, PIECE_BYTES), (77, None), (9, 0)]
    )
    async def test_what_goes_to_a_socket_is_the_same(self, store: Objects, offset: int, length: int | None) -> None:
        content = os.urandom(2 * PIECE_BYTES + 12_345)
        name = named(content)
        await store.put(name, io.BytesIO(content), len(content))
        async with aclosing(store.pieces(name, offset, length)) as pieces:
            received = b"".join([piece async for piece in pieces])
        assert received == content[offset : None if length is None else offset + length]

    async def test_putting_twice_is_harmless(self, store: Objects) -> None:
        content = os.urandom(1000)
        name = named(content)
        await asyncio.gather(*(store.put(name, io.BytesIO(content), 1000) for _ in range(8)))
        assert await read(store, name) == content

    async def test_what_is_not_there(self, store: Objects) -> None:
        name = named(b"never put")
        assert await store.size(name) is None
        assert await store.put_at(name) is None
        with pytest.raises(Absent):
            await read(store, name)
        await store.delete(name)

    async def test_deleted_is_gone(self, store: Objects) -> None:
        name = named(b"x")
        await store.put(name, io.BytesIO(b"x"), 1)
        assert name in await all_names(store)
        await store.delete(name)
        assert await store.size(name) is None
        assert await store.put_at(name) is None
        assert name not in await all_names(store)

    async def test_names_come_in_lists(self, store: Objects) -> None:
        expected = set()
        for number in range(20):
            content = str(number).encode()
            expected.add(named(content))
        for name in expected:
            await store.put(name, io.BytesIO(b"x"), 1)
        assert expected <= await all_names(store)

    @pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "/etc/passwd", f"{uuid4()}/ab/{'c' * 64}"])
    async def test_only_names_of_ours(self, store: Objects, name: str) -> None:
        """B40: no name comes from outside."""
        for attempt in (store.size(name), store.delete(name), store.put(name, io.BytesIO(b""), 0), read(store, name)):
            with pytest.raises(ValueError, match="not the name"):
                await attempt

    async def test_too_few_bytes_are_not_kept(self, store: Objects) -> None:
        """P17."""
        name = named(b"whole")
        with pytest.raises(OSError):
            await store.put(name, io.BytesIO(b"who"), 5)
        assert await store.size(name) is None
        assert await store.put_at(name) is None

    async def test_it_says_that_it_can_be_written_to(self, store: Objects) -> None:
        await store.check()
        assert all(len(name) == 36 + 1 + 64 for name in await all_names(store))


class TestLocal(Conformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LocalObjects]:  # type: ignore[override]
        store = LocalObjects(tmp_path / "media")
        yield store
        await store.close()

    async def test_equal_bytes_are_one_file(self, store: LocalObjects, tmp_path: Path) -> None:
        name = named(b"same")
        for _ in range(2):
            await store.put(name, io.BytesIO(b"same"), 4)
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name.rsplit("/", 1)[1]]

    async def test_a_file_that_another_writer_put_is_durable_too(
        self, store: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other one may not have come to its folder yet, and completed would be what a power cut takes away."""
        name = named(b"same")
        await store.put(name, io.BytesIO(b"same"), 4)
        synced: list[str] = []
        really_sync = os.fsync

        def sync(descriptor: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            really_sync(descriptor)

        monkeypatch.setattr(os, "fsync", sync)
        await store.put(name, io.BytesIO(b"same"), 4)
        assert synced == [str((tmp_path / "media" / name).parent)]

    async def test_a_file_of_another_length_is_replaced(self, store: LocalObjects, tmp_path: Path) -> None:
        """P17: a torn file, as a disk may leave it after a power cut."""
        name = named(b"whole")
        await store.put(name, io.BytesIO(b"whole"), 5)
        (tmp_path / "media" / name).write_bytes(b"who")
        await store.put(name, io.BytesIO(b"whole"), 5)
        assert await read(store, name) == b"whole"

    async def test_nothing_is_left_of_a_failed_put(self, store: LocalObjects, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="3 bytes came instead of 5"):
            await store.put(named(b"whole"), io.BytesIO(b"who"), 5)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    async def test_what_a_dead_process_began_is_removed(self, store: LocalObjects, tmp_path: Path) -> None:
        await store.check()
        old, young = tmp_path / "media/.begun/old", tmp_path / "media/.begun/young"
        for file in (old, young):
            file.write_bytes(b"half")
        os.utime(old, (time.time() - ABANDONED_SECONDS - 1,) * 2)
        assert await all_names(store) == set()
        assert old.exists(), "who only looks changes nothing"
        await store.clear()
        assert not old.exists()
        assert young.exists()

    async def test_what_is_deleted_while_it_is_sent_is_sent_whole(self, store: LocalObjects) -> None:
        content = os.urandom(2 * PIECE_BYTES + 1)
        name = named(content)
        await store.put(name, io.BytesIO(content), len(content))
        async with aclosing(store.pieces(name)) as pieces:
            received = [await anext(pieces)]
            await store.delete(name)
            received += [piece async for piece in pieces]
        assert b"".join(received) == content

    async def test_a_full_or_missing_disk_is_transient(self, tmp_path: Path) -> None:
        """The fact waits in place until the disk is back."""
        (tmp_path / "file").write_bytes(b"")
        store = LocalObjects(tmp_path / "file")
        for attempt in (store.check(), store.put(named(b"x"), io.BytesIO(b"x"), 1)):
            with pytest.raises(OSError) as caught:
                await attempt
            assert is_transient(caught.value)

    async def test_files_are_nobody_elses(self, store: LocalObjects, tmp_path: Path) -> None:
        name = named(b"x")
        await store.put(name, io.BytesIO(b"x"), 1)
        assert stat.S_IMODE((tmp_path / "media" / name).stat().st_mode) == 0o600


KILLED = """
import asyncio, io, os, signal, sys, time
from storage.objects.minio import MinioObjects

class Deadly(io.BytesIO):
    def read(self, size=-1):
        if self.tell() >= 15 << 20:
            time.sleep(1)  # what was read before is being sent
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(size)

async def main():
    *address, name = sys.argv[1:]
    await MinioObjects(*address, "us-east-1").put(name, Deadly(bytes(20 << 20)), 20 << 20)

asyncio.run(main())
"""


@pytest.mark.connected
class TestMinio(Conformance):
    @pytest.fixture
    async def store(self, s3_server: Any) -> AsyncIterator[MinioObjects]:  # type: ignore[override]
        store = MinioObjects(
            s3_server.endpoint, s3_server.bucket, s3_server.access_key, s3_server.secret_key, "us-east-1"
        )
        yield store
        await store.close()

    @pytest.mark.parametrize("fault", ["nobody there", "wrong key"])
    async def test_a_store_that_is_away_is_transient(self, s3_server: Any, fault: str) -> None:
        """The fact waits in place until the store, or its operator, is back."""
        store = MinioObjects(
            "http://127.0.0.1:9" if fault == "nobody there" else s3_server.endpoint,
            s3_server.bucket,
            s3_server.access_key,
            "wrong" if fault == "wrong key" else s3_server.secret_key,
            "us-east-1",
        )
        for attempt in (store.check(), store.put(named(b"x"), io.BytesIO(b"x"), 1), read(store, named(b"x"))):
            with pytest.raises(ConnectionError) as caught:
                await attempt
            assert is_transient(caught.value)
        await store.close()

    async def test_a_store_that_is_busy_keeps_nobody_for_as_long_as_it_says(self) -> None:
        """MinIO says a minute with every SlowDown: whoever looks at media would wait that long, and take a thread."""

        async def busy(_: web.BaseRequest) -> web.Response:
            return web.Response(status=503, headers={"Retry-After": "5"})

        async with RawTestServer(busy) as server:
            store = MinioObjects(str(server.make_url("/")).rstrip("/"), "media", "key", "secret", "us-east-1")
            began = time.monotonic()
            for attempt in (store.put(named(b"x"), io.BytesIO(b"x"), 1), read(store, named(b"x"))):
                with pytest.raises(ConnectionError) as caught:
                    await attempt
                assert is_transient(caught.value)
            assert time.monotonic() - began < 5
            await store.close()

    async def test_parts_that_were_not_put_together_are_no_object(
        self, store: MinioObjects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """S3 says 200 while it is still at it, so that nobody hangs up, and may say an error after that."""
        ask = store.client._http.urlopen

        def answer(method: str, url: str, **more: Any) -> Any:
            if method == "POST" and "uploadId=" in url:
                return urllib3.HTTPResponse(b"<Error><Code>InternalError</Code></Error>", status=200)
            return ask(method, url, **more)

        monkeypatch.setattr(store.client._http, "urlopen", answer)
        content = os.urandom(6 << 20)
        with pytest.raises(ConnectionError) as caught:
            await store.put(named(content), io.BytesIO(content), len(content))
        assert is_transient(caught.value)

    async def test_parts_of_what_a_dead_process_sent_are_removed(
        self, store: MinioObjects, s3_server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """P17: a recording goes in parts, which are no object yet; somebody else's are not ours to remove."""
        ours, foreign = named(os.urandom(8)), f"backups/{uuid4()}"
        address = s3_server.endpoint, s3_server.bucket, s3_server.access_key, s3_server.secret_key
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, *address, ours)
        assert await asyncio.wait_for(killed.wait(), 60) == -signal.SIGKILL
        store.client._create_multipart_upload(store.bucket, foreign, {})

        def begun() -> set[str | None]:
            return {each.object_name for each in store.client._list_multipart_uploads(store.bucket).uploads}

        assert begun() >= {ours, foreign}
        await store.clear()
        assert ours in begun(), "it may still be sending"
        monkeypatch.setattr("storage.objects.minio.ABANDONED_SECONDS", -5)
        await all_names(store)
        assert ours in begun(), "who only looks changes nothing"
        await store.clear()
        assert ours not in begun()
        assert foreign in begun()


@pytest.mark.connected
class TestBelowAPath(Conformance):
    """Supabase's S3 interface is below /storage/v1/s3, and its signatures are of the whole path."""

    @pytest.fixture
    async def store(self, s3_server: Any) -> AsyncIterator[MinioObjects]:  # type: ignore[override]
        async with aiohttp.ClientSession(auto_decompress=False) as http:

            async def forward(request: web.Request) -> web.StreamResponse:
                below = request.raw_path.removeprefix(PATH)
                assert below != request.raw_path
                headers = {**request.headers, "X-Forwarded-Prefix": PATH}
                body = await request.read()
                url = URL(s3_server.endpoint + below, encoded=True)
                async with http.request(request.method, url, headers=headers, data=body) as answer:
                    content = await answer.read()
                    kept = {name: value for name, value in answer.headers.items() if name != "Transfer-Encoding"}
                    return web.Response(status=answer.status, body=content or None, headers=kept)

            application = web.Application(client_max_size=32 << 20)
            application.router.add_route("*", "/{path:.*}", forward)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
            keys = s3_server.access_key, s3_server.secret_key
            store = MinioObjects(endpoint, s3_server.bucket, *keys, "us-east-1", "supabase")
            yield store
            await store.close()
            await runner.cleanup()

"""Files that users bring: streamed on as they come, bounded, and refused as everything is (B23, B40, B41)."""

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Asset, Failure
from contracts.ids import asset_id
from contracts.keeping import (
    ChangedAssets,
    Delete,
    FindMedia,
    FoundMedia,
    NamedMedia,
    OfferedUpload,
    OfferUpload,
    TakenUpload,
    TakeUpload,
)
from contracts.questions import (
    STORAGE_DELETE,
    STORAGE_OFFER_UPLOAD,
    STORAGE_TAKE_UPLOAD,
)
from gateway.settings import Settings

from .client import Answer, Client, until
from .conftest import MakeClient, migrated, settings_of, with_limits

pytestmark = pytest.mark.connected
MAX_BYTES = 3_000_000


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    return with_limits(found, max_upload_bytes=MAX_BYTES)


class Storage:
    """Takes everything as a picture, or says the failure that it was told to."""

    def __init__(self, bus: NatsClient) -> None:
        self._bus = bus
        self.failure: Failure | None = None
        self.mime_type = "image/png"
        self.taken: dict[UUID, tuple[UUID, bytes]] = {}
        self.given: dict[UUID, str | None] = {}
        self.kept: dict[UUID, UUID] = {}
        """Whose each asset is that nobody has deleted."""
        self.asked = 0

    async def take(self, message: Any) -> None:
        self.asked += 1
        question = TakeUpload.model_validate_json(message.data)
        if self.given.setdefault(question.upload_id, question.sha256) != question.sha256:
            self.failure = Failure(code="another_file", message="Another file was taken under this id.")
        if self.failure is not None:
            await message.respond(TakenUpload(failure=self.failure).model_dump_json().encode())
            return
        content = b""
        if question.claim is not None:
            bucket = await self._bus.jetstream().object_store("claims")
            content = (await bucket.get(question.claim)).data or b""
        self.taken[question.upload_id] = (question.user_id, content)
        token = "ab" * 16
        asset = Asset(
            id=asset_id(question.upload_id, 0),
            index=0,
            key=f"{token}/original.png",
            mime_type=self.mime_type,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            width=3,
            height=2,
            variants={"thumbnail": f"{token}/thumbnail.webp"},
        )
        is_new = asset.id not in self.kept
        self.kept[asset.id] = question.user_id
        taken = TakenUpload(asset=asset, visibility=question.visibility, is_new=is_new)
        await message.respond(taken.model_dump_json().encode())

    async def delete(self, message: Any) -> None:
        question = Delete.model_validate_json(message.data)
        is_there = self.kept.get(question.asset_id or UUID(int=0)) == question.user_id
        if is_there and question.asset_id is not None:
            del self.kept[question.asset_id]
        await message.respond(ChangedAssets(assets=int(is_there)).model_dump_json().encode())

    async def find(self, message: Any) -> None:
        question = FindMedia.model_validate_json(message.data)
        found = tuple(
            NamedMedia(asset_id=name.asset_id, mime_type=self.mime_type, size_bytes=1)
            if name.asset_id is not None and self.kept.get(name.asset_id) == question.user_id
            else None
            for name in question.names
        )
        await message.respond(FoundMedia(media=found).model_dump_json().encode())

    def kept_of(self, client: Client) -> list[UUID]:
        return [each for each, user_id in self.kept.items() if user_id == client.user_id]

    async def offer(self, message: Any) -> None:
        question = OfferUpload.model_validate_json(message.data)
        offered = OfferedUpload(failure=self.failure)
        if self.failure is None:
            fields = {"key": f"incoming/{question.upload_id}", "Content-Type": question.mime_type}
            offered = OfferedUpload(url="https://bucket.example", fields=fields, expires_at="2030-01-01T00:00:00Z")  # type: ignore[arg-type]
        await message.respond(offered.model_dump_json().encode())


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    storage = Storage(bus)
    subscriptions = [
        await bus.subscribe(STORAGE_TAKE_UPLOAD, cb=storage.take),
        await bus.subscribe(STORAGE_OFFER_UPLOAD, cb=storage.offer),
        await bus.subscribe(STORAGE_DELETE, cb=storage.delete),
    ]
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield storage
    for subscription in subscriptions:
        await subscription.unsubscribe()


def form(content: bytes, filename: str = "a.png", name: str = "file") -> aiohttp.FormData:
    made = aiohttp.FormData(quote_fields=False)
    made.add_field("purpose", "start image")
    made.add_field(name, content, filename=filename, content_type="text/html")
    return made


async def bring(client: Client, content: bytes, key: str | None = None, **options: Any) -> Answer:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return await client.post("/v1/uploads", headers, data=form(content, **options))


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json.get("code")) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("size", [1, 100_000, 131_072, 131_073, 2_500_000])
async def test_a_file_is_handed_on_whole(client: Client, storage: Storage, size: int) -> None:
    content = os.urandom(size)
    answer = await bring(client, content)
    assert answer.status == 201, answer.text
    upload = answer.json
    assert storage.taken[UUID(upload["id"])] == (client.user_id, content)
    asset = upload["asset"]
    assert asset["id"] == str(asset_id(UUID(upload["id"]), 0))
    assert asset["url"] == f"https://darkroom.example/media/{'ab' * 16}/original.png"
    assert asset["sha256"] == hashlib.sha256(content).hexdigest()


async def test_an_upload_is_deleted_by_its_owner(client: Client, storage: Storage, client_of: MakeClient) -> None:
    upload = (await bring(client, b"x", key="k")).json["id"]
    assert (await client_of().request("DELETE", f"/v1/uploads/{upload}")).status == 404
    assert storage.kept_of(client) == [asset_id(UUID(upload), 0)]
    assert [(await client.request("DELETE", f"/v1/uploads/{upload}")).status for _ in range(2)] == [204, 404]
    assert storage.kept_of(client) == []
    assert (await client.request("DELETE", "/v1/uploads/nonsense")).status == 404
    assert (await bring(client, b"x", key="k")).json["id"] == upload, "brought again"
    assert storage.kept_of(client) == [asset_id(UUID(upload), 0)]


async def test_the_same_key_is_the_same_upload(client: Client, storage: Storage, client_of: MakeClient) -> None:
    first, again = [(await bring(client, b"x", key="k")).json["id"] for _ in range(2)]
    assert first == again
    assert (await bring(client_of(), b"x", key="k")).json["id"] != first, "of another user"
    refused(await bring(client, b"x", key="k" * 300), 400, "invalid_idempotency_key")
    assert storage.given[UUID(first)] == hashlib.sha256(b"x").hexdigest()
    refused(await bring(client, b"y", key="k"), 422, "idempotency_mismatch")


@pytest.mark.parametrize(
    "filename", ["../../x", "x" * 4000, "CON", "a\u202egnp.exe", "-rf", "a;b=c", "файл.png", "..%2f..%2fetc%2fpasswd"]
)
async def test_b40_what_a_file_is_called_is_nobodys_business(client: Client, storage: Storage, filename: str) -> None:
    answer = await bring(client, b"content", filename=filename)
    if answer.status == 400:
        refused(answer, 400, "malformed_body")  # headers of 4 KB are no headers
    else:
        assert answer.status == 201
        assert filename not in answer.text


async def test_without_a_signing_key_everybody_sees_it_or_it_is_not_taken(client: Client, storage: Storage) -> None:
    refused(await client.post("/v1/uploads?visibility=owner", data=form(b"x")), 501, "not_configured")
    refused(await client.post("/v1/uploads?visibility=nobody", data=form(b"x")), 422, "invalid_request")
    assert storage.asked == 0
    answer = await client.post("/v1/uploads?visibility=public", data=form(b"x"))
    assert (answer.status, answer.json["visibility"]) == (201, "public")


async def test_no_token_no_file(nobody: Client, storage: Storage) -> None:
    refused(await bring(nobody, b"x"), 401, "unauthenticated")
    assert storage.asked == 0


async def test_b3_a_file_that_is_too_large_is_refused_while_it_comes(client: Client, storage: Storage) -> None:
    refused(await bring(client, bytes(MAX_BYTES + 1)), 413, "body_too_large")
    refused(await bring(client, bytes(MAX_BYTES + (2 << 20))), 413, "body_too_large")

    async def endless() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(await client.post("/v1/uploads", headers, data=endless()), 413, "body_too_large")
    assert storage.asked == 0


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/uploads", "file"),
        ("/openai/v1/images/edits", "image"),
        ("/openai/v1/videos", "input_reference"),
        ("/api/v1/upload", "file"),
        ("/api/upload_image", "file"),
        ("/replicate/v1/files", "content"),
    ],
)
async def test_what_comes_slowly_is_handed_on_and_lies_in_no_file(
    client: Client, storage: Storage, bus: NatsClient, path: str, name: str
) -> None:
    """Of nobody who sends many at once, or never sends the end: the temporary folder is memory, and everybody's."""
    content, end = bytes(2 << 20), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield part("prompt") + part(name, content, filename="a.png")[:-2]
        await end.wait()
        yield b"\r\n" + END

    async def arrived() -> bool:
        claims = await bus.jetstream().stream_info("OBJ_claims")
        return claims.state.bytes - before > 4 * len(content) - (4 << 17)

    lying = unnamed_files()
    before = (await bus.jetstream().stream_info("OBJ_claims")).state.bytes
    asked = [asyncio.create_task(client.post(path, {"Content-Type": FORM}, data=slow())) for _ in range(4)]
    try:
        await until(arrived)
        assert unnamed_files() == lying
        assert storage.asked == 0
    finally:
        end.set()
        await asyncio.gather(*asked)
    assert list(storage.taken.values()) == [(client.user_id, content)] * 4


def unnamed_files() -> set[tuple[int, int]]:
    """Those of this process, which the gateway runs in."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            about = descriptor.stat()
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                found.add((about.st_dev, about.st_ino))
    return found


def part(name: str, content: bytes = b"x", headers: bytes = b"", filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return (
        f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n'.encode()
        + headers
        + b"\r\n"
        + content
        + b"\r\n"
    )


END = b"--b--\r\n"
FORM = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{}", 415, "unsupported_media_type"),
        ("text/html", b"<html>", 415, "unsupported_media_type"),
        ("", b"", 415, "unsupported_media_type"),
        ("multipart/form-data", part("file") + END, 415, "unsupported_media_type"),
        (f"multipart/form-data; boundary={'b' * 500}", b"", 415, "unsupported_media_type"),
        ("multipart/mixed; boundary=b", part("file") + END, 415, "unsupported_media_type"),
        (FORM, b"", 400, "malformed_body"),
        (FORM, b"nonsense", 400, "malformed_body"),
        (FORM, part("file"), 400, "malformed_body"),
        (FORM, part("file")[:-4], 400, "malformed_body"),
        (FORM, END, 422, "invalid_request"),
        (FORM, part("other") + END, 422, "invalid_request"),
        (FORM, part("file") + part("file") + END, 422, "invalid_request"),
        (FORM, part("a") * 1000 + END, 422, "invalid_request"),
        (FORM, part("file", headers=b"X-A: " + b"a" * 100_000 + b"\r\n") + END, 400, "malformed_body"),
        (FORM, part("file", headers=b"X-A: a\r\n" * 100) + END, 400, "malformed_body"),
        (FORM, part("file", headers=b"X\0: a\r\n") + END, 400, "malformed_body"),
    ],
)
async def test_b23_forms_that_are_none(
    client: Client, storage: Storage, content_type: str, body: bytes, status: int, code: str
) -> None:
    answer = await client.post("/v1/uploads", {"Content-Type": content_type}, data=body)
    refused(answer, status, code)
    assert storage.asked == 0


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unsupported_media", 415),
        ("unusable_media", 422),
        ("not_clean", 422),
        ("too_large", 413),
        ("quota_exceeded", 403),
        ("unavailable", 503),
        ("not_found", 404),
    ],
)
async def test_what_storage_refuses_is_said(client: Client, storage: Storage, code: str, status: int) -> None:
    storage.failure = Failure(code=code, message="Because.")
    answer = await bring(client, b"x")
    refused(answer, status, code)
    assert answer.json["detail"] == "Because."


async def test_without_storage_it_is_said_at_once(client: Client) -> None:
    async with asyncio.timeout(5):
        answer = await bring(client, b"x")
    refused(answer, 503, "unavailable")
    assert "Retry-After" in answer.headers


async def test_b41_a_browser_is_told_where_to_put_a_file_itself(client: Client, storage: Storage) -> None:
    wish = {"mime_type": "image/png", "size_bytes": 10}
    answer = await client.post("/v1/uploads/direct", json=wish)
    assert answer.status == 201, answer.text
    told = answer.json
    assert told["url"] == "https://bucket.example"
    assert told["fields"] == {"key": f"incoming/{told['id']}", "Content-Type": "image/png"}
    finalized = await client.post(f"/v1/uploads/{told['id']}/finalize")
    assert finalized.status == 200
    assert storage.taken[UUID(told["id"])] == (client.user_id, b"")
    for bad in (*({"size_bytes": size} for size in (0, "1", 10**30)), {"more": 1}, {"size_bytes": None}):
        refused(await client.post("/v1/uploads/direct", json=wish | bad), 422, "invalid_request")
    storage.failure = Failure(code="not_found", message="There is no bucket.")
    refused(await client.post("/v1/uploads/direct", json=wish), 404, "not_found")
    refused(await client.post(f"/v1/uploads/{uuid4()}/finalize"), 404, "not_found")
    refused(await client.post("/v1/uploads/none/finalize"), 404, "not_found")

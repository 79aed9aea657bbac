"""Files of the jaaz frontend's users: found by nobody who was not told, there while storage has them, or deleted."""

import base64
import hashlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.ids import asset_id, keyed_generation_id
from gateway import uploads

from .client import Client
from .conftest import PUBLIC_URL, MakeClient
from .jaaz import PNG, V1, keeping_files
from .test_jaaz import loaded, made, put
from .test_uploads import Storage, form

pytestmark = pytest.mark.connected

EMBEDDED = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with keeping_files(bus) as storage:
        yield storage


async def test_nobody_works_out_the_address_of_a_file(client: Client, storage: Storage, nobody: Client) -> None:
    """From whose it is and what is in it, which others may know."""
    shown = await loaded(client, await made(client, files={"f1": {"id": "f1", "dataURL": EMBEDDED}}))
    taken = (await client.post(f"{V1}/upload", {"Idempotency-Key": "cat"}, data=form(PNG))).json["id"]
    again = (await client.post(f"{V1}/upload", {"Idempotency-Key": "cat"}, data=form(PNG))).json["id"]
    assert taken == again
    for key in (f"embedded-{hashlib.sha256(PNG).hexdigest()}", "cat"):
        guessed = keyed_generation_id(client.user_id, "/v1/uploads", key)
        assert guessed not in storage.taken
        assert (await nobody.get(f"/api/file/{guessed}")).status == 404
    for known in (shown["files"]["f1"]["dataURL"], f"{PUBLIC_URL}/api/file/{taken}"):
        assert (await nobody.get(known.removeprefix(PUBLIC_URL))).status == 307


async def test_a_picture_that_is_sent_again_under_its_key_is_one_file(client: Client, storage: Storage) -> None:
    keyed = {"Idempotency-Key": "dog"}
    first, again = [await client.post("/api/upload_image", keyed, data=form(PNG)) for _ in range(2)]
    assert first.status == 200 and again.json == first.json
    assert len((await client.get(f"{V1}/files")).json["files"]) == 1


async def test_a_canvas_is_saved_while_its_user_brings_files(
    client: Client, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own have come with it: nobody waits for them."""
    monkeypatch.setattr(uploads, "AT_ONCE_OF_USER", 0)
    monkeypatch.setattr(uploads, "TURN_SECONDS", 0.0)
    assert (await client.post(f"{V1}/upload", data=form(PNG))).status == 429
    canvas_id = await made(client, files={"f1": {"id": "f1", "dataURL": EMBEDDED}})
    assert (await loaded(client, canvas_id))["files"]["f1"]["dataURL"].startswith(f"{PUBLIC_URL}/api/file/")


async def test_a_file_from_before_keeps_its_address(client: Client, storage: Storage, postgres: asyncpg.Pool) -> None:
    """It stands in canvases."""
    canvas_id = await made(client, files={"f1": {"id": "f1", "dataURL": EMBEDDED}})
    file_id = keyed_generation_id(client.user_id, "/v1/uploads", f"embedded-{hashlib.sha256(PNG).hexdigest()}")
    storage.kept[asset_id(file_id, 0)] = client.user_id
    former = "UPDATE uploaded_files SET id = $2, asked_id = NULL, upload_key = NULL WHERE user_id = $1"
    await postgres.execute(former, client.user_id, file_id)
    address = f"{PUBLIC_URL}/api/file/{file_id}"
    for stored in (True, False):
        if not stored:
            storage.kept.clear()
        await put(client, canvas_id, files={"f1": {"id": "f1", "dataURL": EMBEDDED}})
        assert (await loaded(client, canvas_id))["files"]["f1"]["dataURL"] == address
    assert len((await client.get(f"{V1}/files")).json["files"]) == 1


async def test_an_embedded_file_that_storage_has_no_more_is_kept_again(client: Client, storage: Storage) -> None:
    canvas_id = await made(client, files={"f1": {"id": "f1", "dataURL": EMBEDDED}})
    before = (await loaded(client, canvas_id))["files"]
    storage.kept.clear()
    await put(client, canvas_id, files={"f1": {"id": "f1", "dataURL": EMBEDDED}})
    assert len(storage.kept_of(client)) == 1
    assert (await loaded(client, canvas_id))["files"] == before, "at its address"


async def test_a_file_is_deleted_by_whoever_brought_it(client_of: MakeClient, storage: Storage) -> None:
    client, other = client_of(), client_of()
    file = f"/api/file/{(await client.post(f'{V1}/upload', data=form(PNG))).json['id']}"
    assert ((await other.request("DELETE", file)).status, len(storage.kept_of(client))) == (404, 1)
    assert [(await client.request("DELETE", file)).status for _ in range(2)] == [204, 404]
    assert storage.kept_of(client) == [] and (await client.get(f"{V1}/files")).json == {"files": []}


@pytest.mark.parametrize("is_there", [True, False], ids=["deleted", "deleted before"])
async def test_a_file_that_is_deleted_as_an_upload_is_listed_no_more(
    client: Client, client_of: MakeClient, storage: Storage, is_there: bool
) -> None:
    made = (await client.post(f"{V1}/upload", data=form(PNG))).json["id"]
    assert (await client_of().request("DELETE", f"/v1/uploads/{made}")).status == 404
    assert len((await client.get(f"{V1}/files")).json["files"]) == 1
    if not is_there:
        storage.kept.clear()
    deleted = await client.request("DELETE", f"/v1/uploads/{made}")
    assert deleted.status == (204 if is_there else 404)
    assert (await client.get(f"{V1}/files")).json == {"files": []}


@pytest.mark.parametrize(
    ("named", "filename"),
    [
        ("filename*=UTF-8''%D1%84.png", "ф.png"),
        ("filename=\"\xc3\xa9.png\"; filename*=x'y'z", "é.png"),
        ("FILENAME*=a", "a"),
        ("filename*=utf-8''%00", "file"),
    ],
)
async def test_a_file_whose_name_is_written_otherwise_is_one(
    client: Client, storage: Storage, named: str, filename: str
) -> None:
    """RFC 8187, with no other name beside it, as some clients have it."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; {named}\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    content = head.encode("latin-1") + PNG + b"\r\n--b--\r\n"
    answer = await client.post(f"{V1}/upload", headers, data=content)
    assert answer.status == 200, answer.text
    assert answer.json["filename"] == filename
    assert [each for _, each in storage.taken.values()] == [PNG]

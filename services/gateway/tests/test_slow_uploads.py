"""Files that come slowly, break off or are refused: nobody waits for them for ever, and nothing of them stays."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure
from darkroom.jetstream import ask
from gateway.settings import Settings

from .client import Client, token, until
from .conftest import MakeClient, Service, migrated, settings_of, with_limits
from .jaaz import keeping_files
from .test_uploads import END, FORM, MAX_BYTES, Storage, bring, part, refused

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    return with_limits(found, max_upload_bytes=MAX_BYTES)


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with keeping_files(bus) as storage:
        yield storage


class Slow:
    """A file of which a part is sent, and then nothing more."""

    def __init__(self, service: Service, client: Client, content: bytes) -> None:
        self._address = service.url.removeprefix("http://").split(":")
        self._user_id = client.user_id
        self._content = content

    async def __aenter__(self) -> "Slow":
        host, port = self._address
        self.answer, self._writer = await asyncio.open_connection(host, int(port))
        head = (
            "POST /v1/uploads HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token(self._user_id)}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {MAX_BYTES}\r\n\r\n"
        )
        self._writer.write(head.encode() + part("file", self._content)[:-2])
        await self._writer.drain()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def status(self) -> str:
        return (await asyncio.wait_for(self.answer.readline(), 10)).decode().split(" ")[1]


async def test_a_user_does_not_take_all_uploads_and_who_is_silent_is_waited_for_no_longer(
    client: Client, client_of: MakeClient, storage: Storage, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.forms.SILENT_SECONDS", 5.0)
    monkeypatch.setattr("gateway.uploads.TURN_SECONDS", 0.2)
    async with contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(Slow(service, client, b"x")) for _ in range(16)]
        statuses = [asyncio.create_task(each.status()) for each in silent]

        async def are_refused() -> bool:
            return sum(status.done() for status in statuses) >= 12

        await until(are_refused)
        answer = await bring(client, b"x")
        refused(answer, 429, "too_many_requests")
        assert "Retry-After" in answer.headers
        assert (await bring(client_of(), b"x")).status == 201, "of another user"
        assert sorted(await asyncio.gather(*statuses)) == ["400"] * 4 + ["429"] * 12
    assert (await bring(client, b"x")).status == 201


async def test_what_is_dropped_at_once_is_taken_one_after_the_other(
    client: Client, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client sends a file again that was refused."""
    answers = await asyncio.gather(*(bring(client, os.urandom(100_000)) for _ in range(8)))
    assert [answer.status for answer in answers] == [201] * 8
    monkeypatch.setattr("gateway.uploads.WAITING_OF_USER", 0)
    answers = await asyncio.gather(*(bring(client, os.urandom(100_000)) for _ in range(8)))
    assert 429 in {answer.status for answer in answers}, "nobody waits in a row without an end"


async def test_what_several_users_drop_at_once_is_taken_as_there_is_room(
    client_of: MakeClient, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has sent a file whole is not sent away with it, since others send theirs."""
    monkeypatch.setattr("gateway.uploads.AT_ONCE", 1)
    form = [bring(client_of(), os.urandom(1_000_000)) for _ in range(6)]
    assert [answer.status for answer in await asyncio.gather(*form)] == [201] * 6
    monkeypatch.setattr("gateway.uploads.TURN_SECONDS", 0.0)
    form = [bring(client_of(), os.urandom(1_000_000)) for _ in range(6)]
    assert 429 in {answer.status for answer in await asyncio.gather(*form)}, "nobody waits without an end"


async def test_who_sends_a_little_now_and_then_is_not_waited_for_for_ever(
    client: Client, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.forms.ARRIVING_SECONDS", 1.0)

    async def trickle() -> AsyncIterator[bytes]:
        yield part("file")[:-2]
        while True:
            await asyncio.sleep(0.1)
            yield b"x"

    async with asyncio.timeout(10):
        answer = await client.post("/v1/uploads", {"Content-Type": FORM}, data=trickle())
    refused(answer, 400, "malformed_body")


async def kept(bus: NatsClient) -> int:
    """How many bytes the bucket holds."""
    return int((await ask(bus, "STREAM.INFO.OBJ_claims"))["state"]["bytes"])


async def test_nothing_of_a_file_that_breaks_off_stays_in_the_bucket(
    client: Client, storage: Storage, service: Service, bus: NatsClient
) -> None:
    before = await kept(bus)
    for _ in range(3):
        async with Slow(service, client, os.urandom(1 << 20)):

            async def has_arrived() -> bool:
                return await kept(bus) > before + 900_000

            await until(has_arrived)

        async def is_forgotten() -> bool:
            return await kept(bus) < before + 5_000

        await until(is_forgotten)
    refused(await bring(client, bytes(MAX_BYTES + 1)), 413, "body_too_large")
    await until(is_forgotten)
    assert storage.asked == 0


@pytest.mark.parametrize("failure", [None, Failure(code="not_clean", message="Because.")])
async def test_nothing_of_a_file_stays_in_the_bucket_once_storage_has_answered(
    client: Client, storage: Storage, bus: NatsClient, failure: Failure | None
) -> None:
    storage.failure = failure
    before = await kept(bus)
    assert (await bring(client, os.urandom(1 << 20))).status == (201 if failure is None else 422)

    async def is_forgotten() -> bool:
        return await kept(bus) < before + 5_000

    await until(is_forgotten)


async def test_nothing_of_a_forms_files_stays_in_the_bucket_where_the_form_is_refused(
    client: Client, storage: Storage, bus: NatsClient
) -> None:
    """They were received whole before its last field was read."""
    before = await kept(bus)
    body = part("image", os.urandom(1 << 20), filename="a.png") * 2 + END
    answer = await client.post("/openai/v1/images/edits", {"Content-Type": FORM}, data=body)
    assert (answer.status, answer.json["error"]["param"]) == (400, "prompt"), answer.text

    async def is_forgotten() -> bool:
        return await kept(bus) < before + 5_000

    await until(is_forgotten)
    assert storage.asked == 0

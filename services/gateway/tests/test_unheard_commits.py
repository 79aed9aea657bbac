"""The database commits, and the connection is lost before it says so: what was accepted is sold once, and counted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from gateway.settings import Settings

from .client import IMAGE, Answer, Client
from .conftest import MakeClient
from .players import SEEDREAM
from .test_api_keys import assert_problem, program
from .test_spend_caps import spent

pytestmark = pytest.mark.connected

PROMPT = "A commit that nobody hears"
CHUNK_BYTES = 65_536


class Link:
    """Leads to Postgres. Of the next transactions that name the prompt so many are lost: carried out, and not told;
    after them so many statements: recorded by them, or there before."""

    def __init__(self) -> None:
        self.host, self.port = "", 0
        """Of Postgres."""
        self.loses = 0
        self.loses_statements = 0

    async def joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection(self.host, self.port)
        back = asyncio.create_task(_carry(answers, writer))
        is_named = False
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                is_named = is_named or PROMPT.encode() in chunk
                if is_named and self.loses and b"COMMIT" in chunk:
                    self.loses -= 1
                    await self._lose(back, answers, server, chunk, b"COMMIT")
                    break
                if self.loses_statements and not self.loses and PROMPT.encode() in chunk:
                    self.loses_statements -= 1
                    await self._lose(back, answers, server, chunk, b"INSERT", b"23505")
                    break
                server.write(chunk)
        back.cancel()
        server.close()
        writer.close()

    async def _lose(
        self,
        back: asyncio.Task[None],
        answers: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        said: bytes,
        *done: bytes,
    ) -> None:
        back.cancel()
        await asyncio.wait([back])
        server.write(said)
        answer = await answers.read(CHUNK_BYTES)
        assert any(each in answer for each in done)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
    writer.close()


@pytest.fixture(scope="module")
def link() -> Link:
    return Link()


@pytest.fixture(scope="module")
async def settings(settings: Settings, link: Link) -> AsyncIterator[Settings]:
    """The gateway reaches its database by the link."""
    url = urlsplit(settings.database.database_url.get_secret_value())
    assert url.hostname is not None and url.port is not None
    link.host, link.port = url.hostname, url.port
    server = await asyncio.start_server(link.joined, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    linked = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{port}").geturl()
    yield replace(settings, database=settings.database.model_copy(update={"database_url": SecretStr(linked)}))
    server.close()


async def ask(client: Client, key: str | None = None) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/v1/batches", headers, json={"items": [IMAGE | {"prompt": PROMPT}] * 3})


async def rows_of(client: Client, postgres: asyncpg.Pool) -> int:
    return int(await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id))


@pytest.mark.parametrize("key", [None, "one"])
async def test_a_batch_is_accepted_once_and_counted(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, link: Link, key: str | None
) -> None:
    holder = await program(client_of, client, credits_per_day=3)
    link.loses = 1
    answer = await ask(holder, key)
    assert (answer.status, len(answer.json["items"]), link.loses) == (202, 3, 0), answer.text
    assert (await rows_of(client, postgres), await spent(postgres, client)) == (3, 3)
    assert_problem(await holder.post("/v1/batches", json={"items": [IMAGE]}), 429, "spend_cap_reached")


async def test_a_batch_that_filled_the_queue_is_found(
    client: Client, settings: Settings, postgres: asyncpg.Pool, link: Link
) -> None:
    limits = settings.limits
    await postgres.execute(
        "INSERT INTO slots (user_id, lane, taken, waiting) VALUES ($1, 'batch', $2, $3)",
        client.user_id,
        limits.batch_slots,
        limits.max_waiting - 3,
    )
    link.loses = 1
    answer = await ask(client)
    assert (answer.status, link.loses) == (202, 0), answer.text
    assert await rows_of(client, postgres) == 3
    assert_problem(await ask(client), 429, "too_many_requests")


async def test_a_generation_that_took_the_last_place_is_found(
    client: Client, client_of: MakeClient, settings: Settings, postgres: asyncpg.Pool, link: Link
) -> None:
    holder, limits = await program(client_of, client, credits_per_day=100), settings.limits
    await postgres.execute(
        "INSERT INTO slots (user_id, lane, taken, waiting) VALUES ($1, 'interactive', $2, $3)",
        client.user_id,
        limits.interactive_slots,
        limits.max_waiting - 1,
    )
    link.loses_statements = 1
    answer = await holder.post("/v1/generations", {"Idempotency-Key": "one"}, json=IMAGE | {"prompt": PROMPT})
    assert (answer.status, link.loses_statements) == (202, 0), answer.text
    assert (await rows_of(client, postgres), await spent(postgres, client)) == (1, 1)


async def test_what_nobody_heard_twice_is_not_denied(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, link: Link
) -> None:
    holder = await program(client_of, client, credits_per_day=4)
    link.loses_statements = 2
    answer = await holder.post("/v1/generations", {"Idempotency-Key": "one"}, json=IMAGE | {"prompt": PROMPT})
    assert_problem(answer, 504, "not_heard")
    assert "othing was recorded" not in answer.text
    assert (await rows_of(client, postgres), await spent(postgres, client)) == (1, 1)
    assert (await client.get(answer.headers["Location"])).status == 200
    again = await holder.post("/v1/generations", {"Idempotency-Key": "one"}, json=IMAGE | {"prompt": PROMPT})
    assert (again.status, await rows_of(client, postgres), await spent(postgres, client)) == (202, 1, 1)
    link.loses = link.loses_statements = 1
    answer = await ask(holder)
    assert_problem(answer, 504, "not_heard")
    assert (await rows_of(client, postgres), await spent(postgres, client)) == (4, 4)
    assert len((await client.get(answer.headers["Location"])).json["items"]) == 3


@pytest.mark.parametrize("error", [ConnectionError("It is away."), RuntimeError("A defect.")], ids=["away", "defect"])
@pytest.mark.parametrize(
    ("path", "body", "looks"),
    [
        ("/v1/generations", IMAGE, "gateway.dialects.native.router._accepted"),
        ("/v1/batches", {"items": [IMAGE]}, "gateway.dialects.native.router.translate.batch_view"),
        ("/videos/create", {"prompt": "x"}, "gateway.dialects.instaveo.videos.Videos.own"),
        (f"/replicate/v1/models/bytedance/{SEEDREAM}/predictions", {"input": {"prompt": "x"}},
         "gateway.dialects.replicate.router.translate.view"),
    ],
)  # fmt: skip
async def test_what_was_accepted_is_not_denied(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, body: object, looks: str, error: Exception
) -> None:
    """The database goes away, or we err, before it can be shown."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(looks, fail)
    answer = await client.post(path, json=body)
    assert answer.status == 504, answer.text
    assert "othing was" not in answer.text
    monkeypatch.undo()
    assert (await client.get(answer.headers["Location"])).status == 200

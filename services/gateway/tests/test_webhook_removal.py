"""A webhook is deleted, or changed, in the moment in which it is to be told: what it is told of goes its way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from contracts.facts import Verdict
from gateway import records
from gateway.settings import Settings
from runtime.database import Database

from .client import IMAGE, Client, until
from .outcomes import outcome_of
from .players import Players
from .test_request_webhooks import predict
from .test_webhooks import Receiver, deliveries, ended, make, receiving

pytestmark = pytest.mark.connected

DELETED = "DELETE FROM webhooks WHERE id = $1"
CHANGED = "UPDATE webhooks SET url = url || '/elsewhere' WHERE id = $1"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@contextlib.asynccontextmanager
async def meanwhile(postgres: asyncpg.Pool, statement: str, webhook_id: str) -> AsyncIterator[None]:
    """Not yet committed in the block; it is as soon as somebody waits for it, or for the row of another's."""
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute(statement, UUID(webhook_id))
        yield

        async def is_waited_for() -> Any:
            return await postgres.fetchval(WAITING)

        await until(is_waited_for)


async def test_what_ends_while_a_webhook_is_deleted_is_told_to_the_others(
    client: Client, postgres: asyncpg.Pool, receiver: Receiver
) -> None:
    deleted, kept = await make(client, "https://127.0.0.1:1/"), await make(client, receiver.url)
    async with meanwhile(postgres, DELETED, deleted["id"]):
        asked = asyncio.create_task(client.post("/v1/generations", {"Prefer": "wait=5"}, json=IMAGE))
    answer = await asked
    assert (answer.status, answer.json["status"]) == (200, "completed"), answer.text
    assert (await ended(client, kept, "delivered"))["generation_id"] == answer.json["id"]


async def test_what_ends_while_a_webhook_is_changed_is_told_once(
    client: Client, players: Players, postgres: asyncpg.Pool, receiver: Receiver
) -> None:
    """The row of the generation is held as well, so that the change is committed before the webhook is looked at."""
    webhook = await make(client, receiver.url)
    players.scripts[client.user_id] = players.hold
    request = await players.heard((await client.accepted())["id"])
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM generations WHERE id = $1 FOR UPDATE", request.generation_id)
        async with meanwhile(postgres, CHANGED, webhook["id"]):
            await players.complete(request)
    assert (await client.ended(str(request.generation_id)))["status"] == "completed"
    assert (await ended(client, webhook, "delivered"))["attempts"] == 1
    assert len(await deliveries(client, webhook)) == 1


async def test_a_prediction_begins_and_ends_while_its_webhook_is_deleted(
    settings: Settings, client: Client, players: Players, postgres: asyncpg.Pool, receiver: Receiver
) -> None:
    """At the statements themselves: facts that were not taken come again."""
    players.scripts[client.user_id] = players.hold
    begun, over = [await players.heard(await predict(client, receiver.url, "start", "completed")) for _ in range(2)]
    database = Database(settings.database, "test")
    async with database.statement() as one, database.statement() as other:
        async with meanwhile(postgres, DELETED, str(begun.generation_id)):
            following = asyncio.create_task(records.follow(one, [(begun.generation_id, False)], 30))
        async with meanwhile(postgres, DELETED, str(over.generation_id)):
            finishing = asyncio.create_task(records.finish(other, [outcome_of(over, Verdict.COMPLETED)]))
        await following
        assert [ended.status for ended in await finishing] == ["completed"]
    await database.close()
    assert (await client.show(str(begun.generation_id)))["status"] == "processing"

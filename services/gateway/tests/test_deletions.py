"""What a user deleted is deleted in storage, too, as soon as that answers, and not asked for again after that."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.keeping import ChangedAssets, Delete
from contracts.questions import STORAGE_DELETE
from gateway.deletions import carry_out
from gateway.settings import Settings
from runtime.broker import make_broker
from runtime.database import Database

from .client import Client

pytestmark = pytest.mark.connected


@pytest.fixture
async def tools(settings: Settings) -> AsyncIterator[tuple[Database, Any]]:
    database, broker = Database(settings.database, "gateway"), make_broker(settings.broker, "gateway")
    await broker.start()
    yield database, broker
    await broker.stop()
    await database.close()


async def test_storage_is_asked_until_it_answers_and_then_no_more(
    client: Client, tools: Any, bus: NatsClient, postgres: asyncpg.Pool
) -> None:
    made = await client.accepted()
    await client.ended(made["id"])
    await client.request("DELETE", f"/v1/generations/{made['id']}")

    async def told() -> Any:
        row = "SELECT media_deleted_at FROM generations WHERE id = $1"
        return await postgres.fetchval(row, UUID(made["id"]))

    await carry_out(*tools)
    assert await told() is None, "nobody answered"

    asked: list[Delete] = []

    async def delete(message: Any) -> None:
        asked.append(Delete.model_validate_json(message.data))
        await message.respond(ChangedAssets(assets=1).model_dump_json().encode())

    subscription = await bus.subscribe(STORAGE_DELETE, cb=delete)
    for _ in range(2):
        await bus.flush()
    while await carry_out(*tools):
        pass
    await subscription.unsubscribe()
    assert await told() is not None
    mine = [question for question in asked if question.generation_id == UUID(made["id"])]
    assert {question.user_id for question in mine} == {client.user_id}


async def test_what_storage_never_answers_for_holds_up_nothing_else(
    client: Client, tools: Any, bus: NatsClient, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.deletions.ANSWER_TIMEOUT_SECONDS", 0.5)
    made = [(await client.accepted())["id"] for _ in range(3)]
    for each in made:
        await client.ended(each)
        await client.request("DELETE", f"/v1/generations/{each}")

    async def delete(message: Any) -> None:
        if str(Delete.model_validate_json(message.data).generation_id) != made[0]:
            await message.respond(ChangedAssets(assets=1).model_dump_json().encode())

    subscription = await bus.subscribe(STORAGE_DELETE, cb=delete)
    for _ in range(2):
        await bus.flush()
    assert await carry_out(*tools) == 2
    await subscription.unsubscribe()
    left = await postgres.fetch("SELECT id FROM generations WHERE deleted_at IS NOT NULL AND media_deleted_at IS NULL")
    assert [str(row["id"]) for row in left] == made[:1]
    await postgres.execute("UPDATE generations SET media_deleted_at = now() WHERE deleted_at IS NOT NULL")

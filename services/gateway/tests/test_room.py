"""Quotas: refused before anything is recorded or paid, and what is accepted is stored whatever it takes."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.keeping import Stored, StoredBy
from contracts.questions import STORAGE_USAGE

from .client import IMAGE, Client
from .conftest import MakeClient
from .players import Players
from .test_affordable import rows_of

pytestmark = pytest.mark.connected
FULL = Stored(assets=3, used_bytes=1000, quota_bytes=1000)


class Storage:
    """What it says of each user, and how often it was asked; of others it says nothing."""

    def __init__(self) -> None:
        self.said: dict[UUID, Stored] = {}
        self.asked: list[UUID] = []

    async def answer(self, message: Any) -> None:
        user_id = StoredBy.model_validate_json(message.data).user_id
        self.asked.append(user_id)
        if user_id in self.said:
            await message.respond(self.said[user_id].model_dump_json().encode())


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    storage = Storage()
    subscription = await bus.subscribe(STORAGE_USAGE, cb=storage.answer)
    await bus.flush()
    yield storage
    await subscription.unsubscribe()


async def test_who_is_at_the_quota_is_refused_before_anything_is_paid(
    client: Client, players: Players, storage: Storage, postgres: asyncpg.Pool
) -> None:
    storage.said[client.user_id] = FULL
    answer = await client.create()
    assert (answer.status, answer.json["code"]) == (403, "quota_exceeded")
    assert (answer.json["used_bytes"], answer.json["quota_bytes"]) == (1000, 1000)
    assert (await client.post("/v1/batches", json={"items": [IMAGE]})).status == 403
    answer = await client.post("/api/images/generate", json={"prompt": "x"})
    assert (answer.status, isinstance(answer.json["error"], str)) == (403, True)
    assert await rows_of(client, postgres) == 0
    assert not players.of(client.user_id)
    storage.said[client.user_id] = FULL.model_copy(update={"used_bytes": 999})
    assert (await client.create()).status == 202, "as soon as there is room"


async def test_that_there_is_room_is_believed_for_a_while(client: Client, storage: Storage) -> None:
    storage.said[client.user_id] = Stored(assets=0, used_bytes=0, quota_bytes=1000)
    for _ in range(3):
        assert (await client.create()).status == 202
    assert storage.asked == [client.user_id]


async def test_a_silent_storage_holds_up_one_and_nobody_after(
    client: Client, client_of: MakeClient, storage: Storage
) -> None:
    other = client_of()
    storage.said[other.user_id] = FULL
    for each in (client, client, other):
        assert (await each.create()).status == 202
    assert storage.asked == [client.user_id], "nor is it asked about anybody else at once"

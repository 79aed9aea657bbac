"""What is deleted while somebody waits for it is waited for no longer: every wait and every stream of it ends.

Another gateway records the end and deletes it before this one looks, which hears of it only where the test says so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import openai
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Ending, Outcome, Verdict
from contracts.topology import verdict_subject
from darkroom.embedded.ports import free_port
from gateway import records
from gateway.settings import Settings

from .client import IMAGE, Answer, Client
from .conftest import Service, also_at, serving
from .openai import sdk_of
from .players import SEEDREAM, WRITER, Players
from .sockets import Open
from .test_replicate_streams import listened_to

pytestmark = pytest.mark.connected

DELETED = """
    UPDATE generations SET status = 'cancelled', outcome = $2::jsonb, completed_at = now(), deleted_at = now()
    WHERE id = $1
"""
SHORT: Any = [{"role": "user", "content": "x"}]
TEXT = {"kind": "text", "prompt": "x", "model": WRITER}


@pytest.fixture(scope="module")
def fal_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
async def settings(settings: Settings, fal_port: int) -> Settings:
    return replace(settings, doors=settings.doors.model_copy(update={"frontends": f"fal={fal_port}"}))


@pytest.fixture(scope="module")
async def service(settings: Settings, bus: NatsClient, players: Players, fal_port: int) -> AsyncIterator[Service]:
    async with serving(settings, bus) as gateway, also_at(gateway.app, fal_port):
        yield gateway


@pytest.fixture(autouse=True)
def nothing_ends_by_itself(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold


async def deleted(postgres: asyncpg.Pool, generation_id: str | UUID) -> Outcome:
    ending = Ending(generation_id=UUID(str(generation_id)), verdict=Verdict.CANCELLED)
    outcome = Outcome.of(ending, "gateway", None)
    await postgres.execute(DELETED, ending.generation_id, outcome.encode().decode())
    return outcome


async def test_a_look_that_waits_is_404(client: Client, postgres: asyncpg.Pool) -> None:
    path = f"/v1/generations/{(await client.accepted())['id']}"
    looking = asyncio.create_task(client.get(path, {"Prefer": "wait=5"}))
    await asyncio.sleep(0.3)
    await deleted(postgres, path.rpartition("/")[2])
    async with asyncio.timeout(3):
        answer = await looking
    assert (answer.status, answer.text) == (404, (await client.get(path)).text)


async def test_who_asked_and_waits_is_told_that_it_was_deleted(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    asking = asyncio.create_task(client.post("/v1/generations", {"Prefer": "wait=5"}, json=IMAGE))
    await deleted(postgres, (await players.published(client.user_id))[0].generation_id)
    async with asyncio.timeout(3):
        answer = await asking
    assert (answer.status, answer.json["code"]) == (410, "deleted")


async def test_one_that_was_heard_of_is_looked_at_once(
    client: Client, postgres: asyncpg.Pool, bus: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await client.accepted()
    looking = asyncio.create_task(client.get(f"/v1/generations/{made['id']}", {"Prefer": "wait=5"}))
    await asyncio.sleep(0.3)
    looks, get = 0, records.get

    async def counted(*arguments: Any) -> records.Generation | None:
        nonlocal looks
        looks += 1
        return await get(*arguments)

    monkeypatch.setattr(records, "get", counted)
    outcome = await deleted(postgres, made["id"])
    await bus.publish(verdict_subject(outcome.data.generation_id), outcome.encode())
    assert (await looking).status == 404
    assert looks <= 2


async def test_its_events_end(client: Client, postgres: asyncpg.Pool) -> None:
    made = await client.accepted()
    seen = []
    async with asyncio.timeout(8):
        async for event in client.events(made["id"]):
            seen.append(event.name)
            await deleted(postgres, made["id"])
    assert seen == ["generation"]


async def test_its_states_at_fal_end(client: Client, fal_port: int, postgres: asyncpg.Pool) -> None:
    queue = client.at(f"http://127.0.0.1:{fal_port}")
    made = (await queue.post(f"/x/{SEEDREAM}", json={"prompt": "x"})).json["request_id"]
    reading = asyncio.create_task(queue.get(f"/x/{SEEDREAM}/requests/{made}/status/stream"))
    await asyncio.sleep(0.5)
    await deleted(postgres, made)
    async with asyncio.timeout(8):
        assert "COMPLETED" not in (await reading).text


@pytest.mark.parametrize("kind", ["text", "picture"])
async def test_a_stream_of_openais_ends_in_an_error(
    client: Client, players: Players, postgres: asyncpg.Pool, kind: str
) -> None:
    async with sdk_of(client) as sdk, asyncio.timeout(8):
        stream: Any = (
            await sdk.chat.completions.create(model=WRITER, messages=SHORT, stream=True)
            if kind == "text"
            else await sdk.images.generate(prompt="x", stream=True)
        )
        await deleted(postgres, (await players.published(client.user_id))[0].generation_id)
        with pytest.raises(openai.APIError, match="deleted"):
            [each async for each in stream]


async def test_a_stream_of_replicates_ends_in_an_error(client: Client, postgres: asyncpg.Pool, bus: NatsClient) -> None:
    made = (await client.accepted(**TEXT))["id"]
    reading = asyncio.create_task(client.get(f"/replicate/v1/predictions/{made}/stream"))
    await listened_to(bus, made)
    await deleted(postgres, made)
    async with asyncio.timeout(8):
        answer: Answer = await reading
    assert "event: error\nid: 1\n" in answer.text
    assert answer.text.endswith(f"event: done\nid: 2\ndata: {json.dumps({'reason': 'error'})}\n\n")


async def test_the_sockets_of_a_chat_are_told(
    client: Client, players: Players, postgres: asyncpg.Pool, open_socket: Open
) -> None:
    socket = await open_socket(client.user_id)
    begun = await socket.ask("chat_message", {"message": "x", "session_id": "s1"})
    await deleted(postgres, begun["message_id"])
    [error] = await socket.hears("chat_error")
    assert "deleted" in error["message"]

"""What a client was told, its next read shows (design.md §3.9): nobody speaks before the record is committed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from .client import Answer, Client, Event, until
from .players import Players

pytestmark = pytest.mark.connected

LOCK = 4711


@pytest.fixture(scope="module")
async def commits_can_be_held(postgres: asyncpg.Pool) -> None:
    """Lets a test stop every commit of an outcome: at its very end, where all was written and nothing is visible."""
    await postgres.execute(f"""
        CREATE FUNCTION hold_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER hold_commit AFTER UPDATE OF outcome ON generations
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold_commit();
    """)


@contextlib.asynccontextmanager
async def held(postgres: asyncpg.Pool) -> AsyncIterator[None]:
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        yield


async def committing(postgres: asyncpg.Pool) -> None:
    """Waits until a commit stands before the lock, and then for whatever might be said too early."""

    async def stands() -> bool:
        return bool(await postgres.fetchval("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    await until(stands)
    await asyncio.sleep(0.2)


@pytest.mark.usefixtures("commits_can_be_held")
async def test_a_held_open_request_answers_after_the_commit(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.scripts[client.user_id] = players.hold
    answering: asyncio.Task[Answer] = asyncio.create_task(client.post("/api/images/generate", json={"prompt": "x"}))

    async def heard() -> bool:
        return bool(players.of(client.user_id))

    await until(heard)
    [request] = await players.published(client.user_id)
    async with held(postgres):
        await players.complete(request)
        await committing(postgres)
        assert not answering.done()
        assert (await client.show(str(request.generation_id)))["status"] in {"pending", "processing"}
    answer = await answering
    shown = await client.show(str(request.generation_id))
    assert (answer.status, shown["status"]) == (200, "completed")
    assert [image["id"] for image in answer.json["images"]] == [asset["id"] for asset in shown["assets"]]


@pytest.mark.usefixtures("commits_can_be_held")
async def test_an_event_stream_and_a_notification_speak_after_the_commit(
    client: Client, players: Players, postgres: asyncpg.Pool, bus: NatsClient
) -> None:
    players.scripts[client.user_id] = players.hold
    made = await client.accepted()
    request = await players.heard(made["id"])
    seen: list[Event] = []
    notified: list[Any] = []

    async def follow() -> None:
        async for event in client.events(made["id"]):
            seen.append(event)  # noqa: PERF401 - looked at while it grows

    async def notice(message: Any) -> None:
        notified.append((message, await client.show(made["id"])))

    subscription = await bus.subscribe(f"notification.{client.user_id}.*", cb=notice)
    following = asyncio.create_task(follow())

    async def connected() -> bool:
        return bool(seen)

    await until(connected)
    async with held(postgres):
        await players.complete(request)
        await committing(postgres)
        assert [event.name for event in seen] == ["generation"]
        assert not notified
    await following
    assert (seen[-1].name, seen[-1].data) == ("outcome", await client.show(made["id"]))

    async def told() -> bool:
        return bool(notified)

    await until(told)
    assert [shown["status"] for _, shown in notified] == ["completed"]
    await subscription.unsubscribe()


@pytest.mark.usefixtures("commits_can_be_held")
async def test_a_cancel_answers_after_the_commit(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    players.scripts[client.user_id] = players.hold
    made = await client.accepted()
    await players.heard(made["id"])
    async with held(postgres):
        answering = asyncio.create_task(client.cancel(made["id"]))
        await committing(postgres)
        assert not answering.done()
    assert (await answering).json == await client.show(made["id"])


async def test_read_after_told_fifty_times(client: Client) -> None:
    async def once() -> None:
        answer = await client.post("/api/images/generate", json={"prompt": "x"})
        assert (await client.show(answer.json["promptId"]))["status"] == "completed"

    for _ in range(5):
        await asyncio.gather(*(once() for _ in range(10)))

"""The Python client on a real gateway: what it asks for is there, what it is told it understands."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Verdict
from contracts.questions import STORAGE_DELETE, STORAGE_TAKE_UPLOAD
from darkroom.client import AsyncClient, Client, Generation, NewGeneration, Progress, errors

from .client import token
from .conftest import Service
from .players import SEEDREAM, Players
from .test_uploads import Storage

pytestmark = pytest.mark.connected
STORM: NewGeneration = {"kind": "image", "prompt": "A lighthouse in a storm"}


@pytest.fixture
async def user(service: Service) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(service.url, token(uuid4())) as client:
        yield client


async def test_a_generation_is_asked_for_followed_and_found(user: AsyncClient) -> None:
    quote = await user.quote(**STORM, count=2)
    assert (quote.model, quote.quote, quote.affordable) == (SEEDREAM, 2, True)
    made = await user.generate(**STORM, count=2)
    done = await user.wait(made, 20)
    assert (done.status, done.cost, len(done.assets)) == ("completed", 2, 2)
    assert done == await user.generation(made.id)
    failed = [seen async for seen in user.generations(status="failed", since=datetime.now(UTC))]
    assert failed == []
    assert [seen.id async for seen in user.generations(status="completed")] == [made.id]


async def test_progress_comes_before_the_outcome(service: Service, players: Players) -> None:
    user_id = uuid4()

    players.scripts[user_id] = players.hold
    async with AsyncClient(service.url, token(user_id)) as user:
        made = await user.generate(**STORM)
        request = await players.heard(made.id)
        came: list[Generation | Progress] = []
        async for step in user.follow(made):
            came.append(step)
            if len(came) == 1:
                await players.progress(made.id, 1, 40)
            elif isinstance(step, Progress):
                await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="Broken."))
        assert [type(step) for step in came[-2:]] == [Progress, Generation]
        last = came[-1]
        assert isinstance(last, Generation)
        assert last.status == "failed"
        assert last.error is not None
        assert last.error.code == "provider_error"
        players.scripts.pop(user_id)
        again = await user.wait(await user.retry(last), 20)
        assert (again.status, again.id != last.id) == ("completed", True)


async def test_the_same_key_is_the_same_generation(user: AsyncClient) -> None:
    first = await user.generate(**STORM, idempotency_key="once")
    assert (await user.generate(**STORM, idempotency_key="once")).id == first.id
    with pytest.raises(errors.IdempotencyMismatch):
        await user.generate(kind="image", prompt="Another", idempotency_key="once")


async def test_a_batch_is_one_and_is_looked_at(user: AsyncClient) -> None:
    batch = await user.batch([STORM, {"kind": "image", "prompt": "A calm"}])
    for one in batch.items:
        await user.wait(one, 20)
    looked = await user.look_at_batch(batch.id)
    assert (looked.total, looked.finished, looked.cost) == (2, 2, 2)
    assert [one.prompt for one in looked.items] == ["A lighthouse in a storm", "A calm"]
    await user.delete(looked.items[0])
    with pytest.raises(errors.NotFound):
        await user.generation(looked.items[0].id)


async def test_refusals_are_exceptions_of_their_codes(service: Service, players: Players) -> None:
    poor = uuid4()
    players.available[poor] = 0
    async with AsyncClient(service.url, token(poor)) as user:
        with pytest.raises(errors.InsufficientCredits) as refused:
            await user.generate(**STORM)
        assert (refused.value.details["required"], refused.value.details["available"]) == (1, 0)
        with pytest.raises(errors.ModelNotFound):
            await user.generate(**STORM, model="none")
        with pytest.raises(errors.InvalidRequest, match="size"):
            await user.generate(**STORM, size="1x1")
        with pytest.raises(errors.NotFound):
            await user.wait(uuid4(), 20)
    async with AsyncClient(service.url, "nobody's") as nobody:
        with pytest.raises(errors.Unauthenticated):
            await nobody.credits()
        with pytest.raises(errors.Unauthenticated):
            await nobody.wait(uuid4(), 20)


async def test_what_there_is_and_who_may_ask(user: AsyncClient) -> None:
    assert SEEDREAM in {model.id for model in await user.models("image")}
    assert (await user.credits()).available == 1000
    assert [entry async for entry in user.statement()] == []
    webhook = await user.make_webhook("https://receiver.example/told", ["generation.completed"])
    assert webhook.secret is not None
    assert webhook.secret not in repr(webhook)
    assert [one.id for one in await user.webhooks()] == [webhook.id]
    await user.remove_webhook(webhook.id)
    assert await user.webhooks() == ()
    key = await user.make_api_key(name="renderer", scopes=["read"])
    assert key.key is not None
    assert key.key not in repr(key)
    assert [one.key for one in await user.api_keys()] == [None]
    await user.revoke_api_key(key.id)


async def test_a_file_is_brought_and_started_from(service: Service, bus: NatsClient, tmp_path: Path) -> None:
    """Without a loop, as most programs are."""
    storage = Storage(bus)
    subscriptions = [
        await bus.subscribe(STORAGE_TAKE_UPLOAD, cb=storage.take),
        await bus.subscribe(STORAGE_DELETE, cb=storage.delete),
    ]

    def program() -> None:
        sketch = tmp_path / "sketch.png"
        sketch.write_bytes(b"a sketch" * 50_000)
        with Client(service.url, token(user_id)) as client:
            first = client.upload(sketch, idempotency_key="sketch")
            assert client.upload(sketch, idempotency_key="sketch").id == first.id
            assert storage.kept
            client.delete_upload(first)
            assert not storage.kept
            assert first.as_input("image") == {"role": "image", "upload_id": first.id}

    user_id = uuid4()
    await asyncio.to_thread(program)
    for subscription in subscriptions:
        await subscription.unsubscribe()
    assert set(storage.taken.values()) == {(user_id, b"a sketch" * 50_000)}

"""What a webhook is told again, and what of it: after a page, a change of its address, quiet days, a deletion."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from gateway.webhooks import endpoints, sender

from .client import Answer, Client
from .test_webhooks import Receiver, ended, make, receiving

pytestmark = pytest.mark.connected


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def test_all_of_a_period_is_sent_again_a_page_at_a_time(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool
) -> None:
    """The first ones have ended again long before the next are asked for, and many are of one moment."""
    webhook, moment = await make(client, receiver.url), datetime.now(UTC)
    made = UUID((await client.accepted())["id"])
    await ended(client, webhook, "delivered")
    await postgres.executemany(
        "INSERT INTO deliveries (id, webhook_id, generation_id, event, state, created_at) "
        "VALUES ($1, $2, $3, 'generation.completed', 'parked', $4)",
        [(uuid4(), UUID(webhook["id"]), made, moment) for _ in range(249)],
    )
    asked, sent = {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}, []
    for expected in (100, 100, 50):
        answer = (await client.post(f"/v1/webhooks/{webhook['id']}/redeliver", json=asked)).json
        sent.append(answer["deliveries"])
        await postgres.execute(
            "UPDATE deliveries SET state = 'parked' WHERE state = 'pending' AND webhook_id = $1", UUID(webhook["id"])
        )
        assert (answer["last"] is not None) is (expected == 100)
        asked["after"] = answer["last"]
    assert sent == [100, 100, 50]
    assert (
        await postgres.fetchval(
            "SELECT count(*) FROM deliveries WHERE webhook_id = $1 AND next_at > $2", UUID(webhook["id"]), moment
        )
        == 250
    )


async def test_a_page_of_which_one_is_sent_again_meanwhile_is_no_last_page(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool
) -> None:
    """As by somebody who sends the same period again, or that one alone."""
    webhook = await make(client, receiver.url)
    made, ids = UUID((await client.accepted())["id"]), sorted((uuid4() for _ in range(101)), key=str)
    await ended(client, webhook, "delivered")
    await postgres.executemany(
        "INSERT INTO deliveries (id, webhook_id, generation_id, event, state, created_at) "
        "VALUES ($1, $2, $3, 'generation.completed', 'parked', '2020-01-01')",
        [(each, UUID(webhook["id"]), made) for each in ids],
    )
    async with postgres.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE deliveries SET state = 'pending' WHERE id = $1", ids[99])
        asked = {"since": "2020-01-01T00:00:00Z", "until": "2021-01-01T00:00:00Z"}
        sending = asyncio.create_task(client.post(f"/v1/webhooks/{webhook['id']}/redeliver", json=asked))
        await asyncio.sleep(0.5)
        await transaction.commit()
    assert (await sending).json == {"deliveries": 99, "last": str(ids[99])}


@pytest.mark.parametrize("status", [410, 500])
async def test_what_the_former_address_answers_says_nothing_of_the_new_one(
    client: Client, receiver: Receiver, status: int
) -> None:
    """It was called when the webhook was given another; what it was not told is told there, at once."""
    receiver.answer, receiver.pause_seconds = lambda: web.Response(status=status), 1.0
    webhook = await make(client, receiver.url)
    await client.accepted()
    await receiver.got()
    async with receiving() as other:
        path = f"/v1/webhooks/{webhook['id']}"
        assert (await client.request("PATCH", path, json={"url": other.url})).status == 200
        await other.got()
        assert (await ended(client, webhook, "delivered"))["attempts"] == 1
        shown = (await client.get(path)).json
        assert (shown["url"], shown["state"], shown["failing_since"]) == (other.url, "active", None)


async def test_what_fails_while_its_owner_switches_it_off_is_owed_still(client: Client, receiver: Receiver) -> None:
    """An owner switches off what fails: what it was not told, with whatever else it is owed, is told when it is on."""
    receiver.answer, receiver.pause_seconds = lambda: web.Response(status=500), 1.0
    webhook = await make(client, receiver.url)
    await client.accepted()
    await receiver.got()
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await client.request("PATCH", path, json={"state": "disabled"})).status == 200
    failed = await told_off(client, path)
    assert (failed["state"], failed["status"]) == ("pending", 500)
    shown = (await client.get(path)).json
    assert (shown["state"], shown["why_disabled"]) == ("disabled", "by its owner")


async def told_off(client: Client, path: str) -> dict[str, Any]:
    """The one delivery, once its receiver has answered."""
    while (found := (await client.get(f"{path}/deliveries")).json["items"][0])["status"] is None:
        await asyncio.sleep(0.05)
    return dict(found)


async def test_one_failure_long_after_another_is_no_failing_for_days(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In between nothing was sent: the receiver may have been well."""
    monkeypatch.setattr(sender, "PAUSES_SECONDS", (0.01,) * 7)
    receiver.answer = lambda: web.Response(status=500)
    webhook = await make(client, receiver.url)
    await client.accepted()
    await ended(client, webhook, "parked")
    await postgres.execute(
        "UPDATE webhooks SET failing_since = now() - interval '9 days' WHERE id = $1", UUID(webhook["id"])
    )
    await client.ended((await client.accepted())["id"])
    parked = await ended(client, webhook, "parked")
    assert parked["attempts"] == len(sender.PAUSES_SECONDS) + 1
    shown = (await client.get(f"/v1/webhooks/{webhook['id']}")).json
    assert (shown["state"], shown["why_disabled"]) == ("active", None)
    assert datetime.fromisoformat(shown["failing_since"]) > datetime.now(UTC) - timedelta(days=1)


async def test_what_was_deleted_is_told_nobody_again(client: Client, receiver: Receiver) -> None:
    webhook = await make(client, receiver.url)
    made = await client.accepted(prompt="What nobody may read again")
    delivery = await ended(client, webhook, "delivered")
    assert (await client.request("DELETE", f"/v1/generations/{made['id']}")).status == 204
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await client.post(f"{path}/deliveries/{delivery['id']}/redeliver")).status == 202
    parked = await ended(client, webhook, "parked")
    assert (parked["status"], parked["error"]) == (None, "its generation was deleted")
    assert len(receiver.heard) == 1
    assert (await client.get(path)).json["failing_since"] is None


async def test_the_same_idempotency_key_is_the_same_webhook(client: Client, receiver: Receiver) -> None:
    async def ask(**fields: Any) -> Answer:
        return await client.post("/v1/webhooks", {"Idempotency-Key": "once"}, json={"url": receiver.url, **fields})

    first, again = await ask(), await ask()
    assert (first.status, again.status, again.json) == (201, 201, first.json)
    assert len((await client.get("/v1/webhooks")).json["items"]) == 1
    for other in ({"events": ["generation.failed"]}, {"url": f"{receiver.url}/other"}):
        refused = await ask(**other)
        assert (refused.status, refused.json["code"]) == (422, "idempotency_mismatch")
    path = f"/v1/webhooks/{first.json['id']}"
    await client.request("PATCH", path, json={"url": f"{receiver.url}/other"})
    assert (await ask()).json["url"] == f"{receiver.url}/other", "as it is by now"


async def test_two_that_are_made_at_once_are_not_both_the_last(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MAX_WEBHOOKS", 1)
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('webhooks of ' || $1::uuid, 0))", client.user_id
        )
        await connection.execute(
            "INSERT INTO webhooks (id, user_id, url, events) VALUES (gen_random_uuid(), $1, $2, '{}')",
            client.user_id,
            receiver.url,
        )
        asking = asyncio.create_task(client.post("/v1/webhooks", json={"url": receiver.url}))
        await asyncio.wait([asking], timeout=0.5)
    assert (await asking).status == 422


async def test_a_webhook_is_owed_ends_since_it_asks_for_them(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool
) -> None:
    """By that alone the audit knows what should have been told."""
    webhook = await make(client, receiver.url)

    async def changed(**words: Any) -> bool:
        before = await postgres.fetchval("SELECT owed_since FROM webhooks WHERE id = $1", UUID(webhook["id"]))
        answer = await client.request("PATCH", f"/v1/webhooks/{webhook['id']}", json=words)
        assert answer.status == 200
        after = await postgres.fetchval("SELECT owed_since FROM webhooks WHERE id = $1", UUID(webhook["id"]))
        return bool(after > before)

    assert not await changed(url=f"{receiver.url}/elsewhere")
    assert not await changed(state="active")
    assert await changed(state="disabled")
    assert await changed(state="active")
    assert await changed(events=["generation.failed"])
    assert not await changed(events=["generation.failed"])

"""Credits over HTTP: worth in money, consumed exactly and once, used by day; and what a plan allows."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from contracts.questions import (
    Plan,
)

from .client import Client
from .players import Players

pytestmark = pytest.mark.connected


async def consume(client: Client, key: str | None = None, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/v1/credits/consume", headers, json={"amount": 2.5} | body)


async def test_what_is_consumed_is_taken_to_the_unit(client: Client, players: Players) -> None:
    players.available[client.user_id] = 30_001
    answer = await consume(client, amount=2.5, reason="a sticker")
    assert (answer.status, answer.json) == (200, {"consumed": 2.5, "available": 0.5001})
    (asked,) = [each for each in players.consumed.values() if each.user_id == client.user_id]
    assert (asked.amount, asked.reason) == (25_000, "a sticker")


async def test_under_one_key_it_is_taken_once(client: Client, players: Players) -> None:
    players.available[client.user_id] = 30_000
    answers = [await consume(client, "once", amount=1) for _ in range(3)]
    assert [(answer.status, answer.json["available"]) for answer in answers] == [(200, 2)] * 3
    other = await consume(client, "once", amount=2)
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
    assert players.available[client.user_id] == 20_000


async def test_more_than_there_is_is_402_with_what_is_required_and_available(client: Client, players: Players) -> None:
    players.available[client.user_id] = 10_000
    answer = await consume(client, amount=1.0001)
    assert answer.status == 402
    assert (answer.json["code"], answer.json["required"], answer.json["available"]) == (
        "insufficient_credits",
        1.0001,
        1,
    )


async def test_while_the_ledger_is_silent_nobody_says_that_nothing_was_taken(client: Client, players: Players) -> None:
    players.silent.add(client.user_id)
    answer = await consume(client)
    assert (answer.status, answer.json["code"]) == (504, "not_heard")


@pytest.mark.parametrize(
    "amount", [0, -1, 0.00001, 1e18, 10**18, "1", True, None, [1], {"value": 1, "currency": "EUR"}]
)
async def test_b9_an_amount_that_is_none_is_422_and_names_the_field(
    client: Client, players: Players, amount: object
) -> None:
    answer = await consume(client, amount=amount)
    assert (answer.status, answer.json["errors"][0]["field"].split(".")[0]) == (422, "amount")
    assert not [each for each in players.consumed.values() if each.user_id == client.user_id]


@pytest.mark.parametrize("extra", [{"currency": "EUR"}, {"user_id": "00000000-0000-4000-8000-00000000d0d0"}])
async def test_b9_neither_another_currency_nor_another_user_is_taken_for_this_one(
    client: Client, players: Players, extra: dict[str, str]
) -> None:
    answer = await consume(client, **extra)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, next(iter(extra)))


@pytest.mark.parametrize("path", ["/v1/credits/grant", "/v1/credits", "/v1/prices", "/v1/plan"])
async def test_b9_nobody_gives_themselves_anything_over_http(client: Client, path: str) -> None:
    answer = await client.post(path, json={"amount": 100, "plan": "premium"})
    assert answer.status in {404, 405}


async def test_nobody_consumes_without_a_token(nobody: Client) -> None:
    assert (await consume(nobody)).status == 401


async def test_a_balance_is_worth_money(client: Client, players: Players) -> None:
    players.available[client.user_id] = 123_456
    found = (await client.get("/v1/credits")).json
    assert (found["available"], found["balance"], found["currency"]) == (12.3456, 1.2345, "USD")
    assert found["last_updated"] is None


async def test_usage_is_of_the_last_thirty_days_unless_others_are_named(client: Client, players: Players) -> None:
    answer = await client.get("/v1/usage")
    assert answer.status == 200
    assert (answer.json["total"], answer.json["items"][0]["used"], answer.json["totals"][0]["used"]) == (1, 1.5, 1.5)
    today = datetime.now(UTC).date()
    asked = players.usage[-1]
    assert (asked.user_id, asked.since, asked.until) == (client.user_id, today - timedelta(days=29), today)
    await client.get("/v1/usage?since=2026-01-01&until=2026-01-31&limit=5&offset=10")
    asked = players.usage[-1]
    assert (str(asked.since), str(asked.until), asked.limit, asked.offset) == ("2026-01-01", "2026-01-31", 5, 10)


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-02-01&until=2026-01-01",
        "since=2020-01-01",
        "since=x",
        "limit=0",
        "offset=-1",
        "until=0001-01-01&since=0001-01-02",
    ],
)
async def test_days_that_are_none_are_422(client: Client, query: str) -> None:
    assert (await client.get(f"/v1/usage?{query}")).status == 422


# -- plans ----------------------------------------------------------------------------------------------------


async def test_a_plan_bounds_the_outputs_of_one_request(client: Client, players: Players) -> None:
    players.plans[client.user_id] = Plan(name="small", max_count=2)
    answer = await client.create(count=3)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "count")
    assert (await client.create(count=2)).status == 202


async def test_a_plans_cooldown_is_waited_for(client: Client, players: Players) -> None:
    players.plans[client.user_id] = Plan(name="slow", cooldown_seconds=30)
    assert (await client.create()).status == 202
    answer = await client.create()
    assert (answer.status, answer.json["code"]) == (429, "too_many_requests")
    assert 28 <= int(answer.headers["Retry-After"]) <= 30


async def test_who_cannot_pay_does_not_begin_a_cooldown(client: Client, players: Players) -> None:
    players.plans[client.user_id] = Plan(name="slow", cooldown_seconds=30)
    players.available[client.user_id] = 0
    assert (await client.create()).status == 402
    players.available[client.user_id] = 10_000
    assert (await client.create()).status == 202


async def test_a_plan_says_how_many_are_at_work(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    """Two slots; the third waits, and comes in when one ends."""
    players.plans[client.user_id] = Plan(name="narrow", concurrent=2)
    go = asyncio.Event()

    async def wait(request: Any) -> None:
        await go.wait()
        await players.complete(request)

    players.scripts[client.user_id] = wait
    made = [(await client.create()).json["id"] for _ in range(4)]
    published = "SELECT count(*) FROM generations WHERE user_id = $1 AND published"
    assert await postgres.fetchval(published, client.user_id) == 2
    go.set()
    for generation_id in made:
        await players.heard(generation_id, seconds=10)


async def test_a_daily_cap_is_said_before_anything_is_recorded(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.left_today[client.user_id] = 5_000
    answer = await client.create()
    assert (answer.status, answer.json["code"]) == (429, "daily_cap_reached")
    assert (answer.json["required"], answer.json["left_today"]) == (1, 0.5)
    assert 0 < int(answer.headers["Retry-After"]) <= 86_401
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


async def test_a_generation_that_was_paid_before_says_so_to_the_ledger(client: Client, players: Players) -> None:
    made = await client.create(prepaid=True)
    request = await players.heard(made.json["id"])
    assert request.prepaid
    assert [question.prepaid for question in players.asked if question.user_id == client.user_id] == [True]
    plain = await client.create()
    assert not (await players.heard(plain.json["id"])).prepaid


async def test_a_plan_is_asked_for_once_in_a_while(client: Client, players: Players) -> None:
    """With the question whether something is affordable, which is asked anyway."""
    for _ in range(3):
        assert (await client.create()).status == 202
    assert len([question for question in players.asked if question.user_id == client.user_id]) == 1

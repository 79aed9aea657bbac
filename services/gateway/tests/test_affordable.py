"""Insufficient credits (B16): 402 before anything is recorded, or the outcome `declined` where a race was lost."""

import asyncio
import time

import asyncpg
import pytest

from contracts.facts import Failure, Request, Verdict
from gateway import funds

from .client import Client
from .players import Players

pytestmark = pytest.mark.connected

PATIENCE_SECONDS = funds.ANSWER_TIMEOUT_SECONDS
"""Outside of the tests."""


async def rows_of(client: Client, postgres: asyncpg.Pool) -> int:
    """Generations and slots of a user."""
    generations = "SELECT count(*) FROM generations WHERE user_id = $1"
    slots = "SELECT count(*) FROM slots WHERE user_id = $1"
    found = await postgres.fetchval(f"SELECT ({generations}) + ({slots})", client.user_id)
    assert isinstance(found, int)
    return found


async def test_too_few_credits_are_402_and_nothing_is_recorded(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.available[client.user_id] = 29_999
    answer = await client.create(count=3)
    assert (answer.status, answer.headers["Content-Type"]) == (402, "application/problem+json")
    problem = answer.json
    assert (problem["code"], problem["required"], problem["available"]) == ("insufficient_credits", 3, 2.9999)
    assert await rows_of(client, postgres) == 0
    assert not players.of(client.user_id)


async def test_in_the_dialect_it_is_402_with_a_string_and_the_same_facts(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.available[client.user_id] = 0
    answer = await client.post("/api/images/generate", json={"prompt": "x"})
    assert (answer.status, answer.json["required"], answer.json["available"]) == (402, 1, 0)
    assert isinstance(answer.json["error"], str)
    answer = await client.post("/api/images/test", json={"prompt": "x"})
    assert answer.status == 402
    assert answer.json["success"] is False
    assert answer.json["error"].startswith("API Error: ")
    assert answer.json["error"].endswith("(Status: 402)")
    assert await rows_of(client, postgres) == 0


async def test_exactly_enough_is_enough(client: Client, players: Players) -> None:
    players.available[client.user_id] = 30_000
    assert (await client.create(count=3)).status == 202
    assert [question.amount for question in players.asked if question.user_id == client.user_id] == [30_000]


async def test_a_silent_ledger_does_not_hold_anybody_up(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its silence means go on; the hold decides."""
    monkeypatch.setattr(funds, "ANSWER_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    players.silent.add(client.user_id)
    started = time.perf_counter()
    answer = await client.create()
    assert answer.status == 202
    assert 0.2 < time.perf_counter() - started < 1
    assert (await client.ended(answer.json["id"]))["status"] == "completed"


async def test_a_lost_race_for_the_last_credits_is_declined(client: Client, players: Players) -> None:
    async def decline(request: Request) -> None:
        failure = Failure(code="insufficient_credits", message="This costs 1 credit and 0 are available.")
        await players.end(request, Verdict.DECLINED, failure)

    players.scripts[client.user_id] = decline
    declined = await client.ended((await client.accepted())["id"])
    assert (declined["status"], declined["cost"]) == ("declined", 0)
    assert declined["error"]["code"] == "insufficient_credits"
    for path in ("generate", "test"):
        answer = await client.post(f"/api/images/{path}", json={"prompt": "x"})
        assert (answer.status, answer.json["required"]) == (402, 1)
        assert "This costs 1 credit and 0 are available." in answer.json["error"]


async def test_the_ledger_is_asked_about_the_tokens_user(client: Client, players: Players) -> None:
    await asyncio.gather(*(client.accepted() for _ in range(3)))
    assert len([question for question in players.asked if question.user_id == client.user_id]) == 3


async def test_where_there_is_plenty_the_ledger_is_not_asked_again(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what it named may be spent on its word, and for a while; then it is asked anew."""

    def asked() -> int:
        return len([question for question in players.asked if question.user_id == client.user_id])

    players.available[client.user_id] = 80_000
    for _ in range(4):
        await client.accepted()
    assert asked() == 1
    players.available[client.user_id] = 0
    assert (await client.create()).status == 402
    assert asked() == 2
    with monkeypatch.context() as time_has_passed:
        time_has_passed.setattr(funds, "PLENTY_SECONDS", 0.0)
        time_has_passed.setattr(funds, "HOLDING_SECONDS", 0.0)
        players.available[client.user_id] = 80_000
        await client.accepted()
    await client.accepted()
    assert asked() == 3
    monkeypatch.setattr(funds, "PLENTY_SECONDS", 0.0)
    players.available[client.user_id] = 0
    assert (await client.create()).status == 402


async def test_an_answer_stands_alone_once_what_was_accepted_before_is_held(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks often and has enough is believed again, and not asked about each time from then on."""

    def asked() -> int:
        return len([question for question in players.asked if question.user_id == client.user_id])

    monkeypatch.setattr(funds, "HOLDING_SECONDS", 0.0)
    players.available[client.user_id] = 40_000
    for _ in range(3):
        await client.accepted()
    assert asked() == 2
    for _ in range(2):
        await client.accepted()
    assert asked() == 3


async def test_those_who_asked_at_the_same_time_do_not_spend_the_same_twice(client: Client, players: Players) -> None:
    players.available[client.user_id] = 100_000
    await asyncio.gather(*(client.accepted() for _ in range(10)))
    players.available[client.user_id] = 0
    assert (await client.create()).status == 402

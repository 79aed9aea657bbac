"""Dialects that an operator's account pays for: it is asked and named, and no user is asked, charged or told of it."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import ValidationError

from contracts.facts import Request, Verdict
from contracts.questions import Plan
from gateway.settings import FundingSettings, Settings

from .client import Client
from .conftest import MakeClient, with_limits
from .players import SEEDANCE, STARTING_UNITS, Players

pytestmark = pytest.mark.connected

PAYER = UUID("6f0d2f58-3f51-4c68-9c3e-0d8a5f3b7a11")
GENERATE = "/api/images/generate"
VIDEOS = "/videos/create"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    funding = FundingSettings(funded_dialects="modelark, instaveo", funding_account=PAYER)
    calm = settings.instaveo.model_copy(update={"video_creation_cooldown_seconds": 0})
    return replace(with_limits(settings, sync_wait_seconds=2), funding=funding, instaveo=calm)


@pytest.fixture(autouse=True)
def unasked(players: Players, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is believed to have plenty, and the payer is as at the beginning."""
    monkeypatch.setattr("gateway.funds.PLENTY_SECONDS", 0.0)
    monkeypatch.setattr("gateway.funds.PLAN_SECONDS", 0.0)
    players.available[PAYER] = STARTING_UNITS
    players.plans[PAYER] = Plan()
    players.left_today.pop(PAYER, None)


def asked_about(players: Players, user_id: UUID) -> list[int]:
    """The amounts, without those questions that only ask for the plan."""
    return [question.amount for question in players.asked if question.user_id == user_id and question.amount]


async def rows_of(client: Client, postgres: asyncpg.Pool) -> int:
    found = await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id)
    assert isinstance(found, int)
    return found


async def test_the_operators_account_is_asked_and_named(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """The user has nothing; it stays his generation."""
    players.available[client.user_id] = 0
    answer = await client.post(GENERATE, json={"prompt": "x"})
    assert answer.status == 200
    [request] = await players.published(client.user_id)
    assert (request.user_id, request.payer_id) == (client.user_id, PAYER)
    assert asked_about(players, client.user_id) == []
    assert asked_about(players, PAYER)[-1] == 10_000
    row = await postgres.fetchrow("SELECT user_id, payer_id FROM generations WHERE id = $1", request.generation_id)
    assert tuple(row) == (client.user_id, PAYER)
    shown = await client.show(str(request.generation_id))
    assert str(PAYER) not in str(shown)


async def test_every_named_dialect_is_paid_for(client: Client, players: Players) -> None:
    players.available[client.user_id] = 0
    answer = await client.post(VIDEOS, json={"prompt": "x"})
    assert answer.status in {200, 201, 202}, answer.text
    [request] = await players.published(client.user_id)
    assert (request.payer_id, request.model) == (PAYER, SEEDANCE)


async def test_another_dialect_is_paid_by_its_user(client: Client, players: Players) -> None:
    accepted = await client.accepted()
    [request] = await players.published(client.user_id)
    assert (str(request.generation_id), request.payer_id) == (accepted["id"], None)
    assert asked_about(players, client.user_id) == [10_000]
    players.available[client.user_id] = 0
    assert (await client.create()).status == 402


@pytest.mark.parametrize("extra", ["payer_id", "payerId", "funding", "particulars", "remarks"])
async def test_a_client_cannot_choose_who_pays(client: Client, players: Players, extra: str) -> None:
    other: Any = uuid4()
    said = {extra: {"payer_id": str(other)} if extra in {"particulars", "remarks"} else str(other)}
    assert (await client.create(**said)).status == 422
    assert (await client.post(GENERATE, json={"prompt": "x"} | said)).status == 200
    await client.accepted(options={"payer_id": str(other)})
    assert {request.payer_id for request in await players.published(client.user_id, 2)} == {PAYER, None}
    assert asked_about(players, other) == []


async def test_an_empty_account_is_402_and_says_nothing_of_it(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.available[PAYER] = 7_654
    image = await client.post(GENERATE, json={"prompt": "x"})
    test = await client.post("/api/images/test", json={"prompt": "x"})
    video = await client.post(VIDEOS, json={"prompt": "x"})
    assert [each.status for each in (image, test, video)] == [402, 402, 402]
    for answer in (image, test, video):
        assert "available" not in answer.json
        assert "0.7654" not in answer.text and "7654" not in answer.text and str(PAYER) not in answer.text
    assert image.json["required"] == 1
    assert image.json["error"] == "The account that pays for this has not enough credits."
    assert await rows_of(client, postgres) == 0


async def test_its_day_is_bounded_and_nobody_is_told_by_how_much(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.left_today[PAYER] = 4_321
    answer = await client.post(GENERATE, json={"prompt": "x"})
    assert (answer.status, answer.json["code"]) == (429, "daily_cap_reached")
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    assert "left_today" not in answer.json
    assert "4321" not in answer.text
    assert await rows_of(client, postgres) == 0


async def test_the_pace_is_the_users_own(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    """The payer's plan would let one at a time through, and then a pause; the slots are counted by user."""
    players.plans[PAYER] = Plan(concurrent=1, cooldown_seconds=600)
    players.scripts[client.user_id] = players.hold
    both = await asyncio.gather(*(client.post(VIDEOS, json={"prompt": "x"}) for _ in range(2)))
    assert [answer.status for answer in both] == [both[0].status] * 2, both[1].text
    taken = await postgres.fetchval("SELECT taken FROM slots WHERE user_id = $1", client.user_id)
    assert taken == 2
    assert await postgres.fetchval("SELECT count(*) FROM slots WHERE user_id = $1", PAYER) == 0
    del players.scripts[client.user_id]
    players.plans[client.user_id] = Plan(cooldown_seconds=600)
    assert (await client.post(GENERATE, json={"prompt": "x"})).status == 200
    paused = await client.post(GENERATE, json={"prompt": "x"})
    assert (paused.status, paused.json["code"]) == (429, "too_many_requests")


async def test_two_users_of_one_account_spend_the_same_money(client_of: MakeClient, players: Players) -> None:
    first, second = client_of(), client_of()
    players.available[PAYER] = 10_000
    assert (await first.post(GENERATE, json={"prompt": "x"})).status == 200
    players.available[PAYER] = 0
    answers = await asyncio.gather(*(each.post(GENERATE, json={"prompt": "x"}) for each in (first, second)))
    assert [answer.status for answer in answers] == [402, 402]


async def test_a_lost_race_for_its_last_credits_is_402(client: Client, players: Players) -> None:
    async def decline(request: Request) -> None:
        await players.end(request, Verdict.DECLINED)

    players.scripts[client.user_id] = decline
    answer = await client.post(GENERATE, json={"prompt": "x"})
    assert (answer.status, answer.json["required"]) == (402, 1)
    assert "available" not in answer.json


async def test_a_key_names_one_generation_whoever_pays(client: Client, players: Players) -> None:
    """The payer is no part of what was asked."""
    key = {"Idempotency-Key": "once"}
    made = [await client.post(GENERATE, key, json={"prompt": "x"}) for _ in range(2)]
    assert [answer.status for answer in made] == [200, 200]
    assert made[0].json["promptId"] == made[1].json["promptId"]
    assert len({request.generation_id for request in players.of(client.user_id)}) == 1


async def test_what_is_tried_again_is_paid_by_the_same(client: Client, players: Players) -> None:
    """It is a generation of its dialect still, at whatever surface it is asked for."""

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED)

    players.available[client.user_id] = 0
    players.scripts[client.user_id] = fail
    await client.post(GENERATE, json={"prompt": "x"})
    [failed] = await players.published(client.user_id)
    del players.scripts[client.user_id]
    again = await client.post(f"/v1/generations/{failed.generation_id}/retry")
    assert again.status == 202, again.text
    assert (await players.heard(again.json["id"])).payer_id == PAYER


async def test_its_own_credits_are_what_a_user_is_shown(client: Client, players: Players) -> None:
    players.available[PAYER] = 1
    assert (await client.get("/v1/credits")).json["available"] == STARTING_UNITS / 10_000


def test_who_is_paid_for_has_to_be_paid_by_somebody() -> None:
    with pytest.raises(ValidationError, match="GATEWAY_FUNDING_ACCOUNT"):
        FundingSettings(funded_dialects="modelark")
    assert FundingSettings(funding_account=PAYER).payer_of("modelark") is None


@pytest.mark.parametrize("name", ["social", "native", "jaaz", "Modelark", "modelark instaveo"])
def test_only_dialects_without_credits_of_their_own_can_be_paid_for(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be funded"):
        FundingSettings(funded_dialects=name, funding_account=PAYER)


def test_the_environment_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_FUNDED_DIALECTS", "modelark,reelmate")
    monkeypatch.setenv("GATEWAY_FUNDING_ACCOUNT", str(PAYER))
    given = FundingSettings()
    assert [given.payer_of(name) for name in ("modelark", "reelmate", "instaveo", "native")] == [
        PAYER,
        PAYER,
        None,
        None,
    ]
    monkeypatch.setenv("GATEWAY_FUNDED_DIALECTS", "")
    monkeypatch.setenv("GATEWAY_FUNDING_ACCOUNT", "")
    assert FundingSettings().payer_of("modelark") is None

"""A request that may be answered with what was made before: it says so on its way; its view and cost show it."""

from typing import Any

import pytest

from contracts.facts import Cached, Failure, Request, Reuse, Verdict
from contracts.ids import new_generation_id

from .client import Client
from .outcomes import outcome_of
from .players import Players

pytestmark = pytest.mark.connected


async def answered(client: Client, players: Players, percent: int) -> Any:
    """The view of two pictures that were answered from an earlier generation at so much of their price."""

    async def answer(request: Request) -> None:
        outcome = outcome_of(request, Verdict.COMPLETED)
        cached = Cached(generation_id=new_generation_id(), percent=percent)
        await players.say(outcome.model_copy(update={"data": outcome.data.model_copy(update={"cached": cached})}))

    players.scripts[client.user_id] = answer
    return await client.ended((await client.accepted(count=2, reuse=True))["id"])


async def test_the_wish_travels_with_its_time_and_price_as_they_were_when_it_was_accepted(
    client: Client, players: Players
) -> None:
    players.scripts[client.user_id] = players.hold
    asked = await players.heard((await client.accepted(reuse=True))["id"])
    assert asked.reuse == Reuse(seconds=86_400, percent=0)
    assert asked.quote.amount > 0, "what is set aside is the whole price: nobody knows yet"
    assert (await players.heard((await client.accepted())["id"])).reuse is None


@pytest.mark.parametrize("percent", [0, 50, 100])
async def test_what_was_made_before_costs_its_share(client: Client, players: Players, percent: int) -> None:
    view = await answered(client, players, percent)
    assert view["cached"] is True
    assert view["cost"] == view["quote"] * percent / 100


async def test_what_is_new_says_so(client: Client, players: Players) -> None:
    assert (await client.ended((await client.accepted())["id"]))["cached"] is False


async def test_the_same_key_with_and_without_the_wish_are_two_requests(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    assert (await client.create(key="k-reuse", reuse=True)).status == 202
    assert (await client.create(key="k-reuse", reuse=True)).status == 202
    assert (await client.create(key="k-reuse")).json["code"] == "idempotency_mismatch"


async def test_a_retry_keeps_the_wish_and_a_refusal_its_stage(client: Client, players: Players) -> None:
    async def refuse(request: Request) -> None:
        failure = Failure(code="content_policy", message="This prompt is not allowed here.", stage="prompt")
        await players.end(request, Verdict.FAILED, failure)

    players.scripts[client.user_id] = refuse
    made = await client.ended((await client.accepted(reuse=True))["id"])
    assert (made["status"], made["error"]["stage"], made["cost"]) == ("failed", "prompt", 0)
    again = await client.post(f"/v1/generations/{made['id']}/retry")
    assert (await players.heard(again.json["id"])).reuse is not None

"""Money of the jaaz frontend: its functions consume credits and take payments, its routes show balance and usage."""

from typing import Any

import pytest

from contracts.money import Balance
from contracts.payments import ConfirmedPayment, CreatedPayment, PaymentRefusal

from .client import Client
from .jaaz import V1, F, begun, call
from .players import Players

pytestmark = pytest.mark.connected


@pytest.mark.parametrize("body", [{"amount": 1.5, "description": "a picture"}, {"credits": "1.5"}])
async def test_credits_are_consumed(client: Client, players: Players, body: dict[str, Any]) -> None:
    players.available[client.user_id] = 100_000
    assert await call(client, "consume-credits", user_id=str(client.user_id), **body) == {
        "success": True,
        "remaining_credits": 8.5,
        "creditsRemaining": 8.5,
        "creditsConsumed": 1.5,
    }


async def test_too_few_credits_are_said_with_what_there_is(client: Client, players: Players) -> None:
    players.available[client.user_id] = 5_000
    answer = await client.post(f"{F}/consume-credits", json={"credits": 1})
    assert answer.status == 402
    body = answer.json
    assert (body["success"], body["available"], body["required"]) == (False, 0.5, 1)
    assert isinstance(body["error"], str)


async def test_a_repeated_consumption_is_one(client: Client, players: Players) -> None:
    players.available[client.user_id] = 100_000
    for _ in range(2):
        answer = await client.post(f"{F}/consume-credits", {"Idempotency-Key": "once"}, json={"credits": 2})
        assert answer.json["remaining_credits"] == 8


@pytest.mark.parametrize(
    "body",
    [{}, {"amount": 0}, {"amount": -1}, {"amount": "x"}, {"amount": 1e-7}, {"amount": 1e30}, {"amount": [1]},
     {"amount": True}, {"credits": True},
     {"credits": True, "description": "x" * 501}, {"amount": "1_0"}, {"amount": "\u0661\u0662"}, {"credits": " 1"},
     {"credits": "1e1"}, {"amount": 1, "credits": 2}, {"amount": 1, "description": "a\0b"},
     {"amount": 1, "description": "a\nb"}, {"amount": 1, "description": "\x1b[31m"}],
)  # fmt: skip
async def test_what_is_no_amount_takes_nothing(client: Client, players: Players, body: dict[str, Any]) -> None:
    before = players.available[client.user_id]
    answer = await client.post(f"{F}/consume-credits", json=body)
    assert (answer.status, answer.json["success"]) == (422, False), answer.text
    assert players.available[client.user_id] == before


async def test_what_was_consumed_pays_first_for_what_follows(client: Client, players: Players) -> None:
    await call(client, "consume-credits", credits=1)
    await call(client, "generate-pokemon-images", prompt="a fox", count=1)
    assert (await players.published(client.user_id))[0].prepaid is True


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"amount": 10, "currency": "usd"}, (None, 1000)),
        ({"amount": 9.99, "currency": "USD"}, (None, 999)),
        ({"amount": 1000, "currency": "usd", "credits": 999_999}, (None, 1000)),
        ({"planId": "small", "amount": 1000, "currency": "usd", "credits": 100}, ("small", 1000)),
        ({"amount": 1500, "currency": "JPY"}, (None, 1500)),
    ],
)
async def test_a_payment_is_of_our_price(
    client: Client, players: Players, body: dict[str, Any], asked: tuple[str | None, int]
) -> None:
    players.payments[client.user_id] = begun(1000)
    assert await call(client, "create-payment-intent", **body) == {
        "client_secret": "pi_1_secret",
        "clientSecret": "pi_1_secret",
        "payment_intent_id": "pi_1",
        "id": "pi_1",
        "amount": 1000,
        "currency": "usd",
        "status": "requires_payment_method",
    }
    question = [each for each in players.begun if each.user_id == client.user_id][-1]
    assert ((question.pack, question.price), question.currency) == (asked, body["currency"].lower())


async def test_another_price_than_ours_is_refused(client: Client, players: Players) -> None:
    refusal = PaymentRefusal(code="price_mismatch", message="It costs more.")
    players.payments[client.user_id] = CreatedPayment(refusal=refusal)
    answer = await client.post(f"{F}/create-payment-intent", json={"amount": 1, "currency": "usd"})
    assert (answer.status, answer.json["code"], answer.json["error"]) == (400, "PRICE_MISMATCH", "It costs more.")


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(0, "usd"), (-5, "usd"), (0.001, "usd"), (1e12, "usd"), ("x", "usd"), (1_000_000, "usd"), (1.5, "jpy")],
)
async def test_what_is_no_price_is_refused(client: Client, amount: Any, currency: str) -> None:
    answer = await client.post(f"{F}/create-payment-intent", json={"amount": amount, "currency": currency})
    assert answer.status == 422, answer.text


@pytest.mark.parametrize("field", ["payment_intent_id", "paymentIntentId"])
async def test_only_what_stripe_says_is_credited(client: Client, players: Players, field: str) -> None:
    balance = Balance(available=1_250_000, held=0, used=0)
    players.confirmations[client.user_id, "pi_1"] = ConfirmedPayment(
        state="credited", credits=1_000_000, balance=balance
    )
    players.confirmations[client.user_id, "pi_2"] = ConfirmedPayment(state="unpaid")
    assert await call(client, "process-payment-success", **{field: "pi_1"}) == {
        "success": True,
        "credits_added": 100,
        "creditsAdded": 100,
        "totalCredits": 125,
    }
    unpaid = await call(client, "process-payment-success", **{field: "pi_2"})
    assert (unpaid["success"], unpaid["credits_added"]) == (False, 0)
    for unknown in ("pi_3", "\0", "\ud800"):
        assert (await client.post(f"{F}/process-payment-success", json={field: unknown})).status == 404
    assert (await client.post(f"{F}/process-payment-success", json={})).status == 422


async def test_the_balance_is_money(client: Client, players: Players) -> None:
    players.available[client.user_id] = 1_250_000
    answer = await client.get(f"{V1}/billing/balance")
    assert (answer.json["balance"], answer.json["currency"]) == (12.5, "USD")
    assert answer.json["last_updated"]


async def test_the_usage_is_money_too(client: Client, players: Players) -> None:
    answer = await client.get(f"{V1}/billing/usage?limit=10&offset=5")
    [entry] = answer.json["usage"]
    assert (entry["amount"], entry["description"], entry["model"]) == (0.15, "Credits consumed", "")
    assert answer.json["total"] == 1
    assert (players.usage[-1].limit, players.usage[-1].offset) == (10, 5)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "offset=-1", "offset=x"])
async def test_a_page_has_bounds(client: Client, query: str) -> None:
    assert (await client.get(f"{V1}/billing/usage?{query}")).status == 422

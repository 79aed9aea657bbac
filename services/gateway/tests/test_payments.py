"""Paying over HTTP: packs, payments, and Stripe's webhooks, which nobody's token protects."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from contracts.money import (
    Balance,
)
from contracts.payments import (
    MAX_PAYMENT_EVENT_BYTES,
    BegunPayment,
    ConfirmedPayment,
    CreatedPayment,
    PaymentEventVerdict,
    PaymentRefusal,
)
from gateway import payments

from .client import Client
from .conftest import MakeClient
from .players import Players

pytestmark = pytest.mark.connected

HOOK = "/webhooks/stripe"
SIGNED = {"Stripe-Signature": "t=1,v1=ab"}
EVENT = b'{ "id": "evt_1",\n  "caf\xc3\xa9": 1.0 }\n'


def begun(payment_id: UUID) -> CreatedPayment:
    return CreatedPayment(
        payment=BegunPayment(
            payment_id=payment_id,
            payment_intent="pi_1",
            client_secret="pi_1_secret_2",
            publishable_key="pk_test_1",
            pack="small",
            credits=1_005_000,
            price=1000,
            currency="usd",
            status="requires_payment_method",
        )
    )


@pytest.fixture
def payer(client: Client, players: Players) -> Client:
    """A client whose payments can be begun."""
    players.payments[client.user_id] = begun(client.user_id)
    return client


@pytest.fixture
def ledger(players: Players) -> Iterator[Players]:
    """Believes every webhook, unless a test says otherwise."""
    players.events.clear()
    players.event_verdict = PaymentEventVerdict(verdict="accepted")
    yield players
    players.event_verdict = PaymentEventVerdict(verdict="accepted")


async def test_packs_are_shown_in_credits_and_cents(client: Client, nobody: Client) -> None:
    answer = await client.get("/v1/credit-packs")
    assert answer.status == 200
    assert answer.json == {
        "items": [{"id": "small", "credits": 100, "amount": 1000, "currency": "usd"}],
        "publishable_key": "pk_test_1",
    }
    assert (await nobody.get("/v1/credit-packs")).status == 401


async def test_a_payment_is_begun_for_the_tokens_user(payer: Client, players: Players, nobody: Client) -> None:
    answer = await payer.post("/v1/payments", json={"pack": "small", "amount": 1000, "currency": "usd"})
    assert answer.status == 201
    assert answer.json == {
        "id": str(payer.user_id),
        "payment_intent": "pi_1",
        "client_secret": "pi_1_secret_2",
        "publishable_key": "pk_test_1",
        "pack": "small",
        "credits": 100.5,
        "amount": 1000,
        "currency": "usd",
        "status": "requires_payment_method",
    }
    asked = players.begun[-1]
    assert (asked.user_id, asked.pack, asked.price, asked.currency) == (payer.user_id, "small", 1000, "usd")
    assert (await nobody.post("/v1/payments", json={"pack": "small"})).status == 401


async def test_the_same_key_names_the_same_payment(payer: Client, players: Players) -> None:
    for key in ("a", '"a"', "b", None, None):
        headers = {"Idempotency-Key": key} if key is not None else {}
        assert (await payer.post("/v1/payments", headers, json={"pack": "small"})).status == 201
    first, quoted, other, new, newer = [asked.payment_id for asked in players.begun[-5:]]
    assert first == quoted
    assert len({first, other, new, newer}) == 4
    assert (await payer.post("/v1/payments", {"Idempotency-Key": "é"}, json={"pack": "small"})).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 10.5},
        {"amount": 1e18},
        {"amount": 10**18},
        {"amount": 100_000_000},
        {"amount": "1000"},
        {"amount": True},
        {"amount": [1000]},
        {"pack": 1},
        {"pack": "x" * 256},
        {"pack": "small", "credits": 1_000_000},
        {"pack": "small", "user_id": "somebody"},
        {"pack": "small", "currency": 840},
        [],
        "small",
    ],
)
async def test_what_is_no_amount_or_not_known_is_refused_here(payer: Client, players: Players, body: Any) -> None:
    before = len(players.begun)
    answer = await payer.post("/v1/payments", {"Content-Type": "application/json"}, data=json.dumps(body))
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert len(players.begun) == before


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("not_offered", 404, "payments_not_offered"),
        ("no_such_pack", 422, "no_such_pack"),
        ("price_mismatch", 422, "price_mismatch"),
        ("currency_mismatch", 422, "currency_mismatch"),
        ("id_used", 422, "idempotency_mismatch"),
        ("expired", 422, "expired"),
        ("unavailable", 503, "unavailable"),
    ],
)
async def test_a_refusal_of_the_ledger_is_told(
    client: Client, players: Players, code: Any, status: int, told: str
) -> None:
    players.payments[client.user_id] = CreatedPayment(refusal=PaymentRefusal(code=code, message="Why."))
    answer = await client.post("/v1/payments", json={"pack": "small"})
    assert (answer.status, answer.json["code"]) == (status, told)
    assert ("Retry-After" in answer.headers) == (status == 503)


async def test_a_user_begins_and_confirms_at_a_pace(payer: Client) -> None:
    asked = [payer.post("/v1/payments", json={"pack": "small"}) for _ in range(payments.PAYMENTS_PER_MINUTE)]
    assert {answer.status for answer in await asyncio.gather(*asked)} == {201}
    for path in ("/v1/payments", "/v1/payments/pi_1/confirm"):
        answer = await payer.post(path, json={"pack": "small"})
        assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (429, True)
        assert "payments per minute" in answer.json["detail"]


async def test_a_confirmed_payment_says_what_it_brought(
    client: Client, players: Players, client_of: MakeClient
) -> None:
    balance = Balance(available=1_105_000, held=0, used=0)
    credited = ConfirmedPayment(state="credited", credits=1_005_000, balance=balance)
    players.confirmations = {
        (client.user_id, "pi_paid"): credited,
        (client.user_id, "pi_unpaid"): ConfirmedPayment(state="unpaid"),
        (client.user_id, "pi_silent"): ConfirmedPayment(state="unavailable"),
    }
    told = await client.post("/v1/payments/pi_paid/confirm")
    assert (told.status, told.json) == (200, {"state": "credited", "credits": 100.5, "available": 110.5})
    told = await client.post("/v1/payments/pi_unpaid/confirm")
    assert (told.status, told.json) == (200, {"state": "unpaid", "credits": 0, "available": None})
    assert (await client.post("/v1/payments/pi_silent/confirm")).status == 503
    for path in ("pi_nobody", "%00", "x" * 300, "..", "%2e%2e"):
        assert (await client.post(f"/v1/payments/{path}/confirm")).status == 404
    assert (await client_of().post("/v1/payments/pi_paid/confirm")).status == 404


# -- webhooks -----------------------------------------------------------------------------------------------------


async def test_a_webhook_is_handed_on_byte_for_byte_without_any_token(nobody: Client, ledger: Players) -> None:
    for body in (EVENT, b"\xff\x00\xfe", b"{}", b" " * MAX_PAYMENT_EVENT_BYTES):
        answer = await nobody.post(HOOK, SIGNED, data=body)
        assert (answer.status, answer.json["verdict"]) == (200, "accepted")
        assert (ledger.events[-1].body, ledger.events[-1].signature) == (body, SIGNED["Stripe-Signature"])


@pytest.mark.parametrize(("verdict", "status"), [("accepted", 200), ("ignored", 200), ("refused", 400)])
async def test_only_what_is_refused_is_an_error_to_stripe(
    nobody: Client, ledger: Players, verdict: Any, status: int
) -> None:
    ledger.event_verdict = PaymentEventVerdict(verdict=verdict, reason="a reason")
    answer = await nobody.post(HOOK, SIGNED, data=EVENT)
    assert answer.status == status
    if status == 400:
        assert (answer.json["code"], "a reason" in answer.json["detail"]) == ("webhook_refused", True)


async def test_while_the_ledger_is_silent_stripe_is_asked_to_come_again(
    nobody: Client, ledger: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "WEBHOOK_TIMEOUT_SECONDS", 0.2)
    ledger.event_verdict = None
    answer = await nobody.post(HOOK, SIGNED, data=EVENT)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("headers", [{}, {"Stripe-Signature": ""}, {"Stripe-Signature": "t=1," * 2000}])
async def test_without_a_signature_the_ledger_is_not_even_asked(
    nobody: Client, ledger: Players, headers: dict[str, str]
) -> None:
    assert (await nobody.post(HOOK, headers, data=EVENT)).status == 400
    assert ledger.events == []


async def test_a_body_is_bounded_with_and_without_a_length(nobody: Client, ledger: Players) -> None:
    too_much = b" " * (MAX_PAYMENT_EVENT_BYTES + 1)

    async def endless():
        for _ in range(MAX_PAYMENT_EVENT_BYTES // 1024 + 1):
            yield b" " * 1024

    for body in (too_much, endless()):
        answer = await nobody.post(HOOK, SIGNED, data=body)
        assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert ledger.events == []


async def test_nothing_but_a_post_is_a_webhook(nobody: Client) -> None:
    assert (await nobody.get(HOOK)).status == 405
    assert (await nobody.post("/webhooks/another", SIGNED, data=EVENT)).status == 404

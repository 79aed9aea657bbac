"""The unmodified Stripe SDK against the simulator, and what a receiver of webhooks gets from it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe
from aiohttp import web
from stripe import AIOHTTPClient, StripeClient, Webhook

NEW = {"amount": 1000, "currency": "usd", "metadata": {"user_id": "u1"}}
BACK = "https://studio.example/paid"


class Receiver:
    """An endpoint that keeps what it is sent, raw."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.statuses: list[int] = []
        """What it answers next; 200 where nothing is said."""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), request.headers["Stripe-Signature"]))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = web.Application()
    app.add_routes([web.post("/webhooks/stripe", receiver.take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/stripe"
    await runner.cleanup()


@pytest.fixture
async def make_sdk(simulator) -> AsyncIterator[Any]:
    """Clients; each secret key is an account of its own."""
    transports = []

    def make(key: str) -> StripeClient:
        transports.append(AIOHTTPClient(timeout=10))
        return StripeClient(
            key, base_addresses={"api": f"{simulator.url}/stripe"}, http_client=transports[-1], max_network_retries=0
        )

    yield make
    for transport in transports:
        await transport.close_async()


@pytest.fixture
def sdk(make_sdk) -> StripeClient:
    return make_sdk(f"sk_test_{secrets.token_hex(8)}")


async def paid(sdk: StripeClient, card: str = "pm_card_visa") -> stripe.PaymentIntent:
    intent = await sdk.v1.payment_intents.create_async(NEW)
    return await sdk.v1.payment_intents.confirm_async(intent.id, {"payment_method": card, "return_url": BACK})


async def quiet(simulator) -> list[dict[str, Any]]:
    """The deliveries, once none is under way."""
    async with asyncio.timeout(10):
        while (state := (await simulator.admin("GET", "stripe/deliveries"))[1])["under_way"]:
            await asyncio.sleep(0.02)
    return state["made"]


async def test_a_payment_from_created_to_succeeded(sdk):
    intent = await sdk.v1.payment_intents.create_async(NEW)
    assert (intent.status, intent.amount, intent.amount_received) == ("requires_payment_method", 1000, 0)
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await sdk.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    done = await sdk.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa", "return_url": BACK})
    found = await sdk.v1.payment_intents.retrieve_async(intent.id)
    assert (found.status, found.amount_received, found.metadata["user_id"]) == ("succeeded", 1000, "u1")
    assert done.latest_charge == found.latest_charge
    events = await sdk.v1.events.list_async({"limit": 10})
    assert [event.type for event in events.data] == [
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_intent.created",
    ]
    with pytest.raises(stripe.InvalidRequestError) as again:
        await sdk.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa", "return_url": BACK})
    assert again.value.code == "payment_intent_unexpected_state"


async def test_a_declined_card_is_a_card_error_and_leaves_the_intent_unpaid(sdk):
    with pytest.raises(stripe.CardError) as declined:
        await paid(sdk, "pm_card_chargeDeclined")
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    (intent,) = (await sdk.v1.payment_intents.list_async()).data
    assert (intent.status, intent.last_payment_error.code) == ("requires_payment_method", "card_declined")


async def test_refunds_in_parts_add_up_and_no_more_than_was_paid_is_refunded(sdk):
    intent = await paid(sdk)
    for amount in (300, 200):
        refund = await sdk.v1.refunds.create_async({"payment_intent": intent.id, "amount": amount})
        assert (refund.amount, refund.charge) == (amount, intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        await sdk.v1.refunds.create_async({"payment_intent": intent.id, "amount": 501})
    await sdk.v1.refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await sdk.v1.refunds.create_async({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    events = await sdk.v1.events.list_async({"types": ["charge.refunded"]})
    told = [(event.data.object["amount_refunded"], event.data.object["refunded"]) for event in events.data]
    assert told == [(1000, True), (500, False), (300, False)]


@pytest.mark.parametrize(
    ("evidence", "status", "said"),
    [("winning_evidence", "won", ["closed", "funds_reinstated"]), ("losing_evidence", "lost", ["closed"])],
)
async def test_a_dispute_ends_as_its_evidence_says(sdk, evidence, status, said):
    intent = await paid(sdk, "pm_card_createDispute")
    (dispute,) = (await sdk.v1.disputes.list_async({"payment_intent": intent.id})).data
    assert (dispute.status, dispute.amount) == ("needs_response", 1000)
    await sdk.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": evidence}, "submit": True})
    assert (await sdk.v1.disputes.retrieve_async(dispute.id)).status == status
    types = [event.type for event in (await sdk.v1.events.list_async({"limit": 100})).data][::-1]
    about = [name.removeprefix("charge.dispute.") for name in types if "dispute" in name]
    assert about == ["created", "funds_withdrawn", "updated", *said]


async def test_the_same_key_gives_the_same_answer_and_other_parameters_an_error(sdk):
    first = await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "a"})
    again = await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "a"})
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError) as refused:
        await sdk.v1.payment_intents.create_async({**NEW, "amount": 2000}, {"idempotency_key": "a"})
    assert refused.value.http_status == 400
    assert len((await sdk.v1.payment_intents.list_async()).data) == 1
    with pytest.raises(stripe.InvalidRequestError):
        await sdk.v1.payment_intents.create_async({**NEW, "amount": 1}, {"idempotency_key": "b"})
    assert (await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "b"})).amount == 1000


async def test_a_key_is_forgotten_after_a_day(sdk, simulator):
    first = await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "a"})
    await simulator.admin("POST", "clock", {"seconds": 24 * 3600 + 1})
    assert (await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "a"})).id != first.id


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"amount": 49}, "amount_too_small"),
        ({"amount": 0}, "amount_too_small"),
        ({"amount": -1000}, "amount_too_small"),
        ({"amount": 10**17}, "amount_too_large"),
        ({"amount": 10**18 + 1}, "parameter_invalid_integer"),
        ({"amount": 10.5}, "parameter_invalid_integer"),
        ({"amount": "much"}, "parameter_invalid_integer"),
        ({"amount": True}, "parameter_invalid_integer"),
        ({"currency": "xxx"}, None),
        ({"colour": "blue"}, "parameter_unknown"),
        ({"metadata": {"k" * 41: "v"}}, None),
        ({"metadata": {str(number): "v" for number in range(51)}}, None),
        ({"automatic_payment_methods": {"enabled": "perhaps"}}, None),
    ],
)
async def test_what_stripe_would_refuse_is_refused(sdk, wrong, code):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await sdk.v1.payment_intents.create_async({**NEW, **wrong})
    assert (refused.value.http_status, refused.value.code) == (400, code)
    assert (await sdk.v1.payment_intents.list_async()).data == []


async def test_only_secret_keys_are_let_in_and_each_has_its_own_books(make_sdk, simulator):
    for key in ("pk_test_123", "sk_123", "rubbish"):
        with pytest.raises(stripe.AuthenticationError):
            await make_sdk(key).v1.payment_intents.list_async()
    async with simulator.http.get(f"{simulator.url}/stripe/v1/payment_intents") as answer:
        assert answer.status == 401
    mine, live = make_sdk("sk_test_mine"), make_sdk("sk_live_other")
    intent = await mine.v1.payment_intents.create_async(NEW)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await live.v1.payment_intents.retrieve_async(intent.id)
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    assert (await live.v1.payment_intents.create_async(NEW)).livemode is True


async def test_lists_are_paged_both_ways_and_bounded_by_time(sdk, simulator):
    ids = []
    for _ in range(5):
        ids.append((await sdk.v1.payment_intents.create_async(NEW)).id)
        await simulator.admin("POST", "clock", {"seconds": 60})
    newest_first = ids[::-1]
    page = await sdk.v1.payment_intents.list_async({"limit": 2})
    assert ([each.id for each in page.data], page.has_more) == (newest_first[:2], True)
    assert [each.id async for each in page.auto_paging_iter()] == newest_first
    before = await sdk.v1.payment_intents.list_async({"limit": 2, "ending_before": ids[0]})
    assert ([each.id for each in before.data], before.has_more) == ([ids[2], ids[1]], True)
    third = await sdk.v1.payment_intents.retrieve_async(ids[2])
    later = await sdk.v1.payment_intents.list_async({"created": {"gt": third.created}})
    assert [each.id for each in later.data] == newest_first[:2]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("500", stripe.APIError),
        ("502", stripe.APIError),
        ("503", stripe.APIError),
        ("429", stripe.RateLimitError),
        ("401", stripe.AuthenticationError),
        ("lost", stripe.APIConnectionError),
    ],
)
async def test_faults_become_the_sdk_s_own_exceptions(sdk, simulator, fault, error):
    await simulator.admin("PUT", "scenario", {"provider": "stripe", "outcomes": [fault]})
    with pytest.raises(error):
        await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "a"})
    made = await sdk.v1.payment_intents.list_async()
    assert len(made.data) == (fault == "lost"), "a lost answer was executed"
    again = await sdk.v1.payment_intents.create_async(NEW, {"idempotency_key": "a"})
    assert [each.id for each in made.data] in ([], [again.id])


# -- webhooks -----------------------------------------------------------------------------------------------------


async def endpoint(sdk, receiver, *types: str) -> str:
    made = await sdk.v1.webhook_endpoints.create_async({"url": receiver[1], "enabled_events": types or ["*"]})
    return made.secret


async def test_webhooks_are_signed_as_the_sdk_checks_them(sdk, simulator, receiver):
    secret = await endpoint(sdk, receiver)
    intent = await paid(sdk)
    await quiet(simulator)
    assert sorted(receiver[0].types()) == ["charge.succeeded", "payment_intent.created", "payment_intent.succeeded"]
    for body, signature in receiver[0].got:
        event = Webhook.construct_event(body, signature, secret)
        assert event.data.object["id"] in {intent.id, intent.latest_charge}
        with pytest.raises(stripe.SignatureVerificationError):
            Webhook.construct_event(body + b" ", signature, secret)


async def test_only_the_events_that_were_asked_for_are_sent_and_none_once_it_is_gone(sdk, simulator, receiver):
    made = await sdk.v1.webhook_endpoints.create_async(
        {"url": receiver[1], "enabled_events": ["payment_intent.succeeded"]}
    )
    await paid(sdk)
    await quiet(simulator)
    assert receiver[0].types() == ["payment_intent.succeeded"]
    await sdk.v1.webhook_endpoints.delete_async(made.id)
    await paid(sdk)
    await quiet(simulator)
    assert len(receiver[0].got) == 1


@pytest.mark.parametrize(
    ("fault", "times", "valid"),
    [
        ("ok", 1, True),
        ("lost", 0, True),
        ("twice", 2, True),
        ("late=0.1", 1, True),
        ("old", 1, False),
        ("future", 1, True),  # the SDK looks at the past alone
        ("forged", 1, False),
        ("tampered", 1, False),
    ],
)
async def test_deliveries_go_wrong_as_asked(sdk, simulator, receiver, fault, times, valid):
    secret = await endpoint(sdk, receiver, "payment_intent.succeeded")
    await simulator.admin("PUT", "stripe/deliveries", {"outcomes": [fault]})
    await paid(sdk)
    made = await quiet(simulator)
    assert len(receiver[0].got) == times
    assert [each["status"] for each in made] == ([200] * times or [0])
    for body, signature in receiver[0].got:
        try:
            Webhook.construct_event(body, signature, secret)
            assert valid
        except stripe.SignatureVerificationError:
            assert not valid


async def test_held_events_arrive_in_the_wrong_order(sdk, simulator, receiver):
    await endpoint(sdk, receiver, "payment_intent.succeeded", "charge.refunded")
    await simulator.admin("PUT", "stripe/deliveries", {"outcomes": ["held", "held"]})
    intent = await paid(sdk)
    await sdk.v1.refunds.create_async({"payment_intent": intent.id})
    await quiet(simulator)
    assert receiver[0].got == []
    assert await simulator.admin("POST", "stripe/release") == (200, {"released": 2})
    assert receiver[0].types() == ["charge.refunded", "payment_intent.succeeded"]


async def test_a_refused_delivery_is_tried_again_and_an_old_one_can_be_asked_for(sdk, simulator, receiver):
    await endpoint(sdk, receiver, "payment_intent.succeeded")
    receiver[0].statuses = [503, 500]
    await paid(sdk)
    assert [each["status"] for each in await quiet(simulator)] == [503, 500, 200]
    event = json.loads(receiver[0].got[0][0])["id"]
    assert await simulator.admin("POST", f"stripe/events/{event}") == (200, {"statuses": [200]})
    assert [body for body, _ in receiver[0].got] == [receiver[0].got[0][0]] * 4
    assert (await simulator.admin("PUT", "stripe/deliveries", {"outcomes": ["nonsense"]}))[0] == 400

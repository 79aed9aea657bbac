"""Money that comes in, through every process: begun by HTTP, paid at the simulator, heard of or asked for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from stripe import AIOHTTPClient, StripeClient, WebhookSignature

from tests.whole.conftest import BRISK, Darkroom, User

pytestmark = pytest.mark.whole

MakeUser = Callable[[], User]


@pytest.fixture
async def stripe(darkroom: Darkroom) -> AsyncIterator[StripeClient]:
    """As the customer's bank and the merchant see it."""
    transport = AIOHTTPClient(timeout=10)
    address = {"api": f"{darkroom.known['simulator_url']}/stripe"}
    yield StripeClient("sk_test_simulator", base_addresses=address, http_client=transport, max_network_retries=0)
    await transport.close_async()


async def begun(user: User) -> dict[str, Any]:
    status, body, _ = await user.call("POST", "/v1/payments", json={"pack": "small"})
    assert status == 201, body
    return dict(body)


async def pay(stripe: StripeClient, payment: dict[str, Any]) -> None:
    card: Any = {"payment_method": "pm_card_visa", "return_url": "https://studio.example/paid"}
    await stripe.v1.payment_intents.confirm_async(payment["payment_intent"], card)


async def credits_become(user: User, wanted: dict[str, float], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while await user.credits() != wanted:
            await asyncio.sleep(0.1)


async def test_a_pack_is_bought_confirmed_and_refunded(
    darkroom: Darkroom, new_user: MakeUser, stripe: StripeClient
) -> None:
    user = new_user()
    _, packs, _ = await user.call("GET", "/v1/credit-packs")
    assert packs["publishable_key"] == "pk_test_simulator"
    payment = await begun(user)
    path = f"/v1/payments/{payment['id']}/confirm"
    assert (await user.call("POST", path))[1]["state"] == "unpaid"
    await pay(stripe, payment)
    status, confirmed, _ = await user.call("POST", path)
    assert (status, confirmed) == (200, {"state": "credited", "credits": 100, "available": 110})
    assert (await new_user().call("POST", path))[0] == 404
    await stripe.v1.refunds.create_async({"payment_intent": payment["payment_intent"], "amount": 400})
    await credits_become(user, {"available": 70, "held": 0, "used": 0, "owed": 0})
    _, statement, _ = await user.call("GET", "/v1/credits/statement")
    told = [(entry["entry"], entry["granted"]) for entry in statement["items"]]
    assert sorted(told) == [("payment", 100), ("payment_reversal", -40), ("starting_grant", 10)]
    darkroom.audit()


async def test_in_test_mode_a_pack_is_paid_with_stripes_own_card(new_user: MakeUser) -> None:
    user = new_user()
    payment = await begun(user)
    path = f"/v1/payments/{payment['id']}/test-card"
    assert (await new_user().call("POST", path))[0] == 404
    for _ in range(2):  # paid once, however often it is asked
        status, paid, _ = await user.call("POST", path)
        assert (status, paid) == (200, {"state": "credited", "credits": 100, "available": 110})


async def test_a_webhook_is_believed_once_and_only_if_stripe_signed_it(
    darkroom: Darkroom, new_user: MakeUser, stripe: StripeClient, session: aiohttp.ClientSession
) -> None:
    user = new_user()
    payment = await begun(user)
    await pay(stripe, payment)
    events = (await stripe.v1.events.list_async({"type": "payment_intent.succeeded", "limit": 100})).data
    (event,) = [each.to_dict() for each in events if each.data.object["id"] == payment["payment_intent"]]
    body = json.dumps(event)

    async def deliver(at: float = 0, secret: str = BRISK["STRIPE_WEBHOOK_SECRET"]) -> int:
        signature = WebhookSignature.generate_signature_header(body, secret, int(time.time() + at))
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        async with session.post(f"{darkroom.url}/webhooks/stripe", data=body.encode(), headers=headers) as answer:
            return answer.status

    assert [await deliver(secret="whsec_no"), await deliver(at=-310), await deliver(at=310)] == [400, 400, 400]
    assert [await deliver() for _ in range(3)] == [200, 200, 200]
    assert (await user.credits())["available"] == 110


async def test_what_no_webhook_brought_is_credited_all_the_same(
    darkroom: Darkroom, new_user: MakeUser, stripe: StripeClient
) -> None:
    user = new_user()
    await pay(stripe, await begun(user))
    await credits_become(user, {"available": 110, "held": 0, "used": 0, "owed": 0})
    darkroom.check_permissions()

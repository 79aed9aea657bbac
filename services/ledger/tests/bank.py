"""The other side of a payment: the customer with a card, the merchant's dashboard, and Stripe's own voice."""

import asyncio
import json
import secrets
import time
from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import stripe
from pydantic import SecretStr
from stripe import AIOHTTPClient, StripeClient, WebhookSignature

from contracts.payments import (
    BegunPayment,
    CreatePayment,
    PaymentEvent,
    PaymentEventVerdict,
)
from ledger.payments.operations import Payments
from ledger.settings import PaymentSettings

BACK = "https://studio.example/paid"
DISPUTING = "pm_card_createDispute"


class Bank:
    """One Stripe account in the simulator, by its own secret key, through the unmodified SDK."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url = url
        self.key = key
        self.secret = secret
        self._transport = AIOHTTPClient(timeout=10)
        self.sdk = StripeClient(
            key, base_addresses={"api": f"{url}/stripe"}, http_client=self._transport, max_network_retries=0
        )

    async def close(self) -> None:
        await self._transport.close_async()

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, f"{self.url}/__sim/{path}", json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def fail(self, *outcomes: str) -> None:
        """What becomes of the next calls."""
        await self.admin("PUT", "scenario", {"provider": "stripe", "outcomes": list(outcomes)})

    async def pay(self, begun: BegunPayment, card: str = "pm_card_visa") -> stripe.PaymentIntent:
        return await self.sdk.v1.payment_intents.confirm_async(
            begun.payment_intent, {"payment_method": card, "return_url": BACK}
        )

    async def refund(self, begun: BegunPayment, amount: int | None = None) -> None:
        more: Any = {} if amount is None else {"amount": amount}
        await self.sdk.v1.refunds.create_async({"payment_intent": begun.payment_intent, **more})

    async def end_dispute(self, begun: BegunPayment, evidence: str) -> None:
        (dispute,) = (await self.sdk.v1.disputes.list_async({"payment_intent": begun.payment_intent})).data
        await self.sdk.v1.disputes.update_async(
            dispute.id, {"evidence": {"uncategorized_text": evidence}, "submit": True}
        )

    async def events(self, *types: str) -> list[dict[str, Any]]:
        """What Stripe has to say, the oldest first."""
        page = await self.sdk.v1.events.list_async({"limit": 100})
        return [event.to_dict() for event in page.data[::-1] if not types or event.type in types]

    async def intents(self) -> list[str]:
        return [intent.id for intent in (await self.sdk.v1.payment_intents.list_async({"limit": 100})).data]

    def webhook(self, event: dict[str, Any] | bytes, *, at: float = 0, secret: str | None = None) -> PaymentEvent:
        """Signed as Stripe signs; `at` seconds from now."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        signature = WebhookSignature.generate_signature_header(
            body.decode(), secret or self.secret, int(time.time() + at)
        )
        return PaymentEvent(body=b64encode(body), signature=signature)

    async def tell(self, payments: Payments, *types: str) -> list[PaymentEventVerdict]:
        """Every event (of these types) as a webhook, in order."""
        return [await payments.receive(self.webhook(event)) for event in await self.events(*types)]


def new_bank(simulator_url: str) -> Bank:
    """An account that nobody else uses."""
    return Bank(simulator_url, f"sk_test_{secrets.token_hex(8)}", f"whsec_{secrets.token_hex(8)}")


def settings_for(bank: Bank) -> PaymentSettings:
    return PaymentSettings(
        stripe_secret_key=SecretStr(bank.key),
        stripe_webhook_secret=SecretStr(bank.secret),
        stripe_publishable_key="pk_test_of_this_stack",
        stripe_base_url=f"{bank.url}/stripe",
        stripe_pull_seconds=60,
    )


async def paid_unheard(payments: Payments, bank: Bank) -> tuple[UUID, dict[str, Any]]:
    """A user whose payment was made, and nobody told us: the event that says it."""
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    events = await bank.events("payment_intent.succeeded")
    return user, next(event for event in events if event["data"]["object"]["id"] == begun.payment_intent)


async def begin(payments: Payments, user: UUID, pack: str = "small") -> BegunPayment:
    created = await payments.create(CreatePayment(payment_id=uuid4(), user_id=user, pack=pack))
    assert created.payment is not None, created.refusal
    return created.payment


async def quiet(bank: Bank) -> list[dict[str, Any]]:
    """The webhooks that were sent, once none is under way."""
    async with asyncio.timeout(10):
        while (state := await bank.admin("GET", "stripe/deliveries"))["under_way"]:
            await asyncio.sleep(0.02)
    made: list[dict[str, Any]] = state["made"]
    return made

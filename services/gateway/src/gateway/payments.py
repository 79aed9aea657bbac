"""Paying: handed on to the ledger, which alone knows the prices and talks to Stripe."""

from base64 import b64encode

import structlog
from faststream.nats import NatsBroker

from contracts.payments import (
    MAX_REFERENCE_CHARACTERS,
    BegunPayment,
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPacks,
    PaymentEvent,
    PaymentEventVerdict,
)
from contracts.questions import (
    LEDGER_CONFIRM_PAYMENT,
    LEDGER_CREATE_PAYMENT,
    LEDGER_CREDIT_PACKS,
    LEDGER_PAYMENT_EVENT,
    Nothing,
)
from gateway.identity import Caller
from gateway.orders import id_of, unfit
from gateway.questions import ask_ledger
from gateway.rates import Limit, Rates
from gateway.refusals import (
    IdempotencyMismatch,
    Invalid,
    NotFound,
    PaymentsNotOffered,
    Refusal,
    Unavailable,
    WebhookRefused,
)

PACKS_TIMEOUT_SECONDS = 2.0
STRIPE_TIMEOUT_SECONDS = 12.0
"""Longer than the ledger waits for Stripe."""
WEBHOOK_TIMEOUT_SECONDS = 8.0
"""Shorter than Stripe waits for us."""
PAYMENTS_PER_MINUTE = 20
"""Begun or confirmed by one user: each may cost a call to Stripe."""
MAX_SIGNATURE_CHARACTERS = 4096
_REFUSALS: dict[str, type[Refusal]] = {"not_offered": PaymentsNotOffered, "id_used": IdempotencyMismatch}

log = structlog.get_logger()


class Payments:
    """The commands about payments, and what they need."""

    def __init__(self, broker: NatsBroker, rates: Rates) -> None:
        self._broker = broker
        self._rates = rates

    async def packs(self) -> CreditPacks:
        """What can be bought. Raises Unavailable while the ledger does not answer."""
        return await ask_ledger(self._broker, LEDGER_CREDIT_PACKS, Nothing(), CreditPacks, PACKS_TIMEOUT_SECONDS)

    async def create(
        self, caller: Caller, route: str, key: str | None, pack: str | None, price: int | None, currency: str | None
    ) -> BegunPayment:
        """Begins to pay for a pack; the same key gives the same payment. `price` is in minor units.

        Raises:
            Invalid: no such pack, or not at that price. PaymentsNotOffered, IdempotencyMismatch, InvalidKey,
                ScopeMissing, TooManyRequests. Unavailable: the ledger or Stripe is silent. Nothing was paid in any of
                them.
        """
        caller.may_manage()
        payment_id = id_of(caller, route, key)
        await self._rates.take(Limit(f"payments of {caller.user_id}", PAYMENTS_PER_MINUTE, what="payments"))
        question = CreatePayment(
            payment_id=payment_id, user_id=caller.user_id, pack=pack, price=price, currency=currency
        )
        created = await ask_ledger(
            self._broker, LEDGER_CREATE_PAYMENT, question, CreatedPayment, STRIPE_TIMEOUT_SECONDS
        )
        if created.payment is not None:
            return created.payment
        if created.refusal is None or created.refusal.code == "unavailable":
            raise Unavailable("The payment provider cannot be reached right now. Nothing was paid.")
        raise _refusal(created.refusal.code, created.refusal.message)

    async def confirm(self, caller: Caller, reference: str, *, with_test_card: bool = False) -> ConfirmedPayment:
        """Credits a payment of the caller's that was made; whether it was. In Stripe's test mode it can be paid here.

        Raises:
            NotFound: no such payment of this user. ScopeMissing, TooManyRequests.
            Unavailable: the ledger or Stripe is silent.
        """
        caller.may_manage()
        if len(reference) > MAX_REFERENCE_CHARACTERS or unfit(reference) is not None:
            raise NotFound("There is no such payment.")
        await self._rates.take(Limit(f"payments of {caller.user_id}", PAYMENTS_PER_MINUTE, what="payments"))
        question = ConfirmPayment(user_id=caller.user_id, reference=reference, with_test_card=with_test_card)
        confirmed = await ask_ledger(
            self._broker, LEDGER_CONFIRM_PAYMENT, question, ConfirmedPayment, STRIPE_TIMEOUT_SECONDS
        )
        if confirmed.state == "unknown":
            raise NotFound("There is no such payment.")
        if confirmed.state == "unavailable":
            raise Unavailable("The payment provider cannot be reached right now. Ask again.")
        return confirmed

    async def hand_on(self, body: bytes, signature: str) -> PaymentEventVerdict:
        """Gives Stripe's webhook to the ledger, byte for byte: only there it can be checked who wrote it.

        Raises:
            WebhookRefused: it is not to be believed.
            Unavailable: the ledger does not answer; Stripe sends it again.
        """
        if not signature or len(signature) > MAX_SIGNATURE_CHARACTERS:
            raise WebhookRefused("There is no signature of Stripe's.")
        question = PaymentEvent(body=b64encode(body), signature=signature)
        verdict = await ask_ledger(
            self._broker, LEDGER_PAYMENT_EVENT, question, PaymentEventVerdict, WEBHOOK_TIMEOUT_SECONDS
        )
        if verdict.verdict == "refused":
            log.warning("webhook.refused", reason=verdict.reason)
            raise WebhookRefused(f"The webhook was refused: {verdict.reason}.")
        return verdict


def _refusal(code: str, message: str) -> Refusal:
    refusal = _REFUSALS.get(code, Invalid)(message)
    if type(refusal) is Invalid:
        refusal.code = code
    return refusal

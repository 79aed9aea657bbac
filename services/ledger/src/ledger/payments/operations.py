"""What can be done with payments: begin one, look whether it was made, believe a webhook, apply what Stripe reports.

A row is committed before Stripe is asked, and Stripe is asked by a key that follows from the row: whatever breaks in
between, asking again gives the same intent. All reports, whoever brings them, go through `apply`.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import structlog

from contracts.facts import Change, Receipt
from contracts.payments import (
    BegunPayment,
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPack,
    CreditPacks,
    PaymentEvent,
    PaymentEventVerdict,
    PaymentRefusal,
)
from ledger import accounts, debts
from ledger.domain.payments import Payment, Report, State, decide_movements, merged, problem_of
from ledger.operations import Ledger
from ledger.payments import rows
from ledger.payments.events import Event, UnbelievableError, UnreadableError, read_event, report_of_intent, verify
from ledger.payments.provider import Provider, RefusedError, SilentError
from ledger.settings import PaymentSettings
from runtime.database import Connection, Database

BEGINNING_SECONDS = 23 * 3600
"""Stripe may forget an idempotency key after a day: until then a payment that has no intent yet can be begun again."""
MAX_RECEIPTS_TOLD = 100

log = structlog.get_logger()


class Payments:
    """The operations of one process. Without a key of Stripe's nothing is offered; what was paid before stays."""

    def __init__(self, database: Database, ledger: Ledger, settings: PaymentSettings) -> None:
        self._database = database
        self._ledger = ledger
        self._settings = settings
        key = settings.stripe_secret_key
        self.provider = Provider(settings, key.get_secret_value()) if key is not None else None

    async def packs(self) -> CreditPacks:
        if self.provider is None:
            return CreditPacks(packs=())
        return CreditPacks(packs=tuple(await self._packs()), publishable_key=self._settings.stripe_publishable_key)

    # -- beginning and confirming -------------------------------------------------------------------------------

    async def create(self, asked: CreatePayment) -> CreatedPayment:
        """Begins a payment; the same again for an id that was begun before."""
        if self.provider is None:
            return _refused("not_offered", "Payments are not offered here.")
        # First what was begun: it has its price, whatever the pack costs by now, or if it is offered no longer.
        async with self._database.statement() as connection:
            begun = await rows.begun(connection, asked.payment_id, BEGINNING_SECONDS)
        if begun is None:
            pack = _chosen(await self._packs(), asked)
            if isinstance(pack, CreatedPayment):
                return pack
            new = Payment(asked.payment_id, asked.user_id, pack.id, pack.credits, pack.price, pack.currency)
            async with self._database.transaction() as connection:
                begun = await rows.begin(connection, new, BEGINNING_SECONDS)
        payment, is_old = begun
        if not _is_asked(payment, asked):
            return _refused("id_used", "This payment was begun for something else.")
        if payment.payment_intent is None and is_old:
            return _refused("expired", "This payment was begun too long ago; begin another one.")
        return await self._begin(self.provider, payment)

    async def _begin(self, provider: Provider, payment: Payment) -> CreatedPayment:
        try:
            if payment.payment_intent is not None:
                intent = await provider.retrieve(payment.payment_intent)
            else:
                intent = await provider.create(payment)
                async with self._database.statement() as connection:
                    await rows.link(connection, payment.id, intent["id"])
        except (SilentError, RefusedError) as error:
            log.warning("payment.not_begun", payment_id=str(payment.id), error=str(error))
            return _refused("unavailable", "The payment provider cannot be reached right now; nothing was paid.")
        log.info("payment.begun", payment_id=str(payment.id), payment_intent=intent["id"], pack=payment.pack)
        return CreatedPayment(
            payment=BegunPayment(
                payment_id=payment.id,
                payment_intent=intent["id"],
                client_secret=intent["client_secret"],
                publishable_key=self._settings.stripe_publishable_key,
                pack=payment.pack,
                credits=payment.credits,
                price=payment.price,
                currency=payment.currency,
                status=intent["status"],
            )
        )

    async def confirm(self, asked: ConfirmPayment) -> ConfirmedPayment:
        """Credits a payment of this user that Stripe itself says was made, if no webhook did so before."""
        payment = await self._of_user(asked)
        if payment is None:
            return ConfirmedPayment(state="unknown")
        if payment.state is not State.PAID and payment.payment_intent is not None:
            if self.provider is None:
                return ConfirmedPayment(state="unavailable")
            try:
                if asked.with_test_card and self.provider.is_test:
                    await self.provider.pay_with_test_card(payment.payment_intent)
                report = report_of_intent(await self.provider.retrieve(payment.payment_intent))
            except (SilentError, RefusedError, UnreadableError) as error:
                log.warning("payment.not_confirmed", payment_id=str(payment.id), error=str(error))
                return ConfirmedPayment(state="unavailable")
            if report is not None:
                await self.apply(report)
                payment = await self._of_user(asked) or payment
        if payment.state is not State.PAID:
            return ConfirmedPayment(state="canceled" if payment.state is State.CANCELED else "unpaid")
        left = payment.credits - payment.taken_back
        if left == 0:
            return ConfirmedPayment(state="canceled")
        balance, _ = await self._ledger.balance(payment.user_id)
        return ConfirmedPayment(state="credited", credits=left, balance=balance.after_debt())

    # -- what Stripe reports ------------------------------------------------------------------------------------

    async def receive(self, webhook: PaymentEvent) -> PaymentEventVerdict:
        """Applies a webhook that Stripe wrote just now, over exactly these bytes."""
        secret = self._settings.stripe_webhook_secret
        if self.provider is None or secret is None:
            return PaymentEventVerdict(verdict="refused", reason="webhooks are not configured here")
        try:
            verify(webhook.body, webhook.signature, secret.get_secret_value())
            event = read_event(json.loads(webhook.body))
        except (UnbelievableError, UnreadableError, ValueError, RecursionError) as error:
            log.warning("payment_event.refused", error=f"{type(error).__name__}: {error}"[:300])
            reason = str(error) if isinstance(error, UnbelievableError) else "it cannot be read"
            return PaymentEventVerdict(verdict="refused", reason=reason)
        return await self.apply_event(event)

    async def apply_event(self, event: Event) -> PaymentEventVerdict:
        """Once per event, however it came."""
        if event.report is None:
            return _ignored(event, "it is about nothing that concerns us")
        if self.provider is None or event.livemode is not self.provider.is_live:
            return _ignored(event, "it is of the other mode, test or live")
        return await self.apply(event.report, event)

    async def apply(self, report: Report, event: Event | None = None) -> PaymentEventVerdict:
        """Merges a report into what is known of its payment, and posts what follows, in one transaction."""
        async with self._database.transaction() as connection:
            await rows.lock(connection, report.payment_intent)
            payment = await rows.find(connection, report.payment_intent, report.payment_id)
            if payment is None and report.claim is None:
                return _ignored(event, "no payment of ours")
            if event is not None and not await rows.remember(connection, event, report.payment_intent):
                return PaymentEventVerdict(verdict="accepted", reason="applied before")
            if payment is not None and (problem := problem_of(payment, report)) is not None:
                log.error("payment.contradicted", payment_id=str(payment.id), error=problem)
                return _ignored(event, problem)
            if report.claim is not None:
                await rows.claim(connection, report.payment_intent, report.claim)
            if payment is None:
                return _ignored(event, "no payment of ours yet")
            changes = await self._move(connection, payment, report)
        self._ledger.changed(changes)
        return PaymentEventVerdict(verdict="accepted")

    async def _move(self, connection: Connection, payment: Payment, report: Report) -> tuple[Change, ...]:
        await self._ledger.open_account(connection, payment.user_id)
        account = (await accounts.lock(connection, [payment.user_id]))[payment.user_id]
        claims = await rows.claims(connection, report.payment_intent)
        made, taken_back = decide_movements(payment, report, claims, account.available)
        after = replace(
            payment,
            payment_intent=report.payment_intent,
            state=merged(payment, report),
            taken_back=taken_back,
            movements=payment.movements + (taken_back != payment.taken_back),
        )
        posted = await accounts.post(connection, made)
        paid = await debts.pay_debts(connection, [payment.user_id])
        await rows.store(connection, after)
        for transaction in made:
            log.info("payment.moved", payment_id=str(payment.id), type=transaction.type, user_id=str(payment.user_id))
        return (*posted.changes, *paid)

    async def collect_debts(self) -> None:
        """Pays debts from what came back in other ways than by money: holds that were released, captures refunded."""
        async with self._database.statement() as connection:
            debtors = await debts.debtors(connection)
        for user_id in debtors:
            async with self._database.transaction() as connection:
                paid = await debts.pay_debts(connection, [user_id])
            self._ledger.changed(paid)

    # -- receipts -----------------------------------------------------------------------------------------------

    async def untold(self) -> list[Receipt]:
        """What was credited and not said yet."""
        async with self._database.statement() as connection:
            return await rows.untold(connection, MAX_RECEIPTS_TOLD)

    async def told(self, receipts: Sequence[Receipt]) -> None:
        async with self._database.statement() as connection:
            await rows.told(connection, receipts)

    async def _packs(self) -> list[CreditPack]:
        async with self._database.statement() as connection:
            return await rows.packs(connection)

    async def _of_user(self, asked: ConfirmPayment) -> Payment | None:
        async with self._database.statement() as connection:
            return await rows.of_user(connection, asked.user_id, asked.reference)


def _chosen(offered: Sequence[CreditPack], asked: CreatePayment) -> CreditPack | CreatedPayment:
    """The pack that is asked for, or why there is none. The price is ours, whatever was asked."""
    currency = _currency(asked)
    named = [pack for pack in offered if asked.pack in {None, pack.id}]
    if not named or (asked.pack is None and asked.price is None):
        known = ", ".join(pack.id for pack in offered) or "none"
        return _refused("no_such_pack", f"There is no such credit pack. Offered: {known}.")
    in_currency = [pack for pack in named if currency in {None, pack.currency}]
    if not in_currency:
        taken = ", ".join(sorted({pack.currency for pack in named}))
        return _refused("currency_mismatch", f"This can be paid in {taken}.")
    priced = [pack for pack in in_currency if asked.price in {None, pack.price}]
    if not priced:
        prices = ", ".join(f"{pack.price} {pack.currency} for {pack.id}" for pack in in_currency)
        return _refused("price_mismatch", f"That is not the price. In minor units: {prices}.")
    return priced[0]


def _is_asked(payment: Payment, asked: CreatePayment) -> bool:
    """Whether this is the payment that is asked for, under its id."""
    return (
        asked.user_id == payment.user_id
        and (asked.pack, asked.price) != (None, None)
        and asked.pack in {None, payment.pack}
        and asked.price in {None, payment.price}
        and _currency(asked) in {None, payment.currency}
    )


def _currency(asked: CreatePayment) -> str | None:
    return asked.currency.strip().lower() if asked.currency is not None else None


def _refused(code: str, message: str) -> CreatedPayment:
    return CreatedPayment(refusal=PaymentRefusal.model_validate({"code": code, "message": message}))


def _ignored(event: Event | None, reason: str) -> PaymentEventVerdict:
    if event is not None:
        log.info("payment_event.ignored", event_id=event.id, type=event.type, reason=reason)
    return PaymentEventVerdict(verdict="ignored", reason=reason)

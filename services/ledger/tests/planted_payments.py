"""Bugs of payments: money that comes twice, from nowhere, or for somebody else."""

from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from stripe import WebhookSignature

from contracts.facts import Change
from ledger import debts
from ledger.domain import payments as decisions
from ledger.domain import transactions
from ledger.domain.payments import State
from ledger.operations import Ledger
from ledger.payments import operations, provider, rows
from ledger.payments.operations import Payments
from runtime.database import Database

from . import test_payment_events, test_payments, test_taken_back
from .bank import new_bank, paid_unheard, settings_for
from .planting import Bug, reworded


@asynccontextmanager
async def at_a_new_bank(
    database: Database, ledger: Ledger, simulator_url: str, wanted: Container[str]
) -> AsyncIterator[dict[str, Any]]:
    """What checks of payments are given. Another account for every run: the bank remembers the one before."""
    bank = new_bank(simulator_url)
    payments = Payments(database, ledger, settings_for(bank))
    try:
        paid = await paid_unheard(payments, bank) if "paid" in wanted else None
        yield {"bank": bank, "payments": payments, "paid": paid}
    finally:
        assert payments.provider is not None
        await payments.provider.close()
        await bank.close()


def a_payment_is_known_by_its_events_alone(patch: pytest.MonkeyPatch) -> None:
    decide, payment = decisions.decide_movements, transactions.payment
    patch.setattr(operations, "decide_movements", lambda known, *of: decide(replace(known, state=State.CREATED), *of))
    patch.setattr(transactions, "payment", lambda *of: replace(payment(*of), key=str(uuid4())))


def the_sum_of_refunds_is_taken_for_the_last_of_them(patch: pytest.MonkeyPatch) -> None:
    decide, reversal = decisions.decide_movements, transactions.payment_reversal
    patch.setattr(operations, "decide_movements", lambda known, *of: decide(replace(known, taken_back=0), *of))
    patch.setattr(transactions, "payment_reversal", lambda *of: replace(reversal(*of), key=str(uuid4())))


def a_signature_may_be_from_the_future(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operations, "verify", lambda *of: WebhookSignature.verify_header(*of, tolerance=300))


def the_age_of_a_signature_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operations, "verify", WebhookSignature.verify_header)


def what_is_claimed_before_it_is_paid_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    claim = rows.claim

    async def forgetful(connection: Any, payment_intent: str, claimed: Any) -> None:
        payment = await rows.find(connection, payment_intent, None)
        if payment is not None and payment.state is State.PAID:
            await claim(connection, payment_intent, claimed)

    patch.setattr(rows, "claim", forgetful)


def any_amount_in_any_currency_will_do(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(operations, "problem_of", lambda *_: None)


def every_call_to_stripe_has_a_key_of_its_own(patch: pytest.MonkeyPatch) -> None:
    request = provider.GuardedClient.request_async

    async def keyed(client: Any, method: str, url: str, headers: Mapping[str, str], post_data: Any = None) -> Any:
        return await request(client, method, url, {**headers, "Idempotency-Key": str(uuid4())}, post_data)

    patch.setattr(provider.GuardedClient, "request_async", keyed)


def a_payment_is_confirmed_for_whoever_asks(patch: pytest.MonkeyPatch) -> None:
    reworded(patch, rows, "_OF_USER", ("user_id = :user_id AND", "CAST(:user_id AS uuid) IS NOT NULL AND"))


def what_comes_in_can_be_spent_before_debts_are_paid(patch: pytest.MonkeyPatch) -> None:
    async def later(*_: Any) -> tuple[Change, ...]:
        """By the next round."""
        return ()

    patch.setattr(debts, "pay_debts", later)


PAYMENT_BUGS = {
    "a payment is credited by each of its events": Bug(
        a_payment_is_known_by_its_events_alone,
        test_payments.test_p10_success_reported_by_two_events_five_times_each_is_credited_once,
    ),
    "a refund is taken as a whole instead of what is new of it": Bug(
        the_sum_of_refunds_is_taken_for_the_last_of_them,
        test_taken_back.test_refunds_take_back_what_is_new_of_their_sum,
    ),
    "a webhook from the future is believed": Bug(
        a_signature_may_be_from_the_future,
        partial(test_payment_events.test_a_signature_is_of_now_five_minutes_both_ways, at=310, verdict="refused"),
    ),
    "a webhook from the past is believed": Bug(
        the_age_of_a_signature_is_not_looked_at,
        partial(test_payment_events.test_a_signature_is_of_now_five_minutes_both_ways, at=-310, verdict="refused"),
    ),
    "a refund before the success is forgotten": Bug(
        what_is_claimed_before_it_is_paid_is_forgotten,
        test_taken_back.test_f32_a_refund_before_the_success_is_taken_when_that_comes,
    ),
    "whatever was paid is credited": Bug(
        any_amount_in_any_currency_will_do,
        partial(
            test_payment_events.test_what_contradicts_our_row_is_never_credited,
            changes={"currency": "jpy"},
            reason="another currency was paid",
        ),
    ),
    "a payment is begun twice at Stripe": Bug(
        every_call_to_stripe_has_a_key_of_its_own,
        partial(test_payments.test_while_stripe_fails_it_is_said_and_the_next_try_gives_the_one_intent, fault="lost"),
    ),
    "a payment is credited to whoever confirms it": Bug(
        a_payment_is_confirmed_for_whoever_asks,
        test_payments.test_confirming_credits_what_stripe_itself_says_was_paid_by_this_user,
    ),
    "what comes in is spent while something is owed": Bug(
        what_comes_in_can_be_spent_before_debts_are_paid,
        test_taken_back.test_p7_what_was_spent_already_is_owed_and_what_comes_in_pays_it_first,
    ),
}

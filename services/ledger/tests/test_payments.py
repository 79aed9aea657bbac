"""Payments from begun to credited, and back, on a real Postgres against Stripe's SDK and its simulator."""

import asyncio
import random
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from contracts.payments import (
    ConfirmPayment,
    CreatePayment,
)
from contracts.statement import StatementOf
from ledger.operations import Ledger
from ledger.payments import operations as payment_operations
from ledger.payments.operations import Payments
from ledger.settings import PaymentSettings
from ledger.statement import statement

from .bank import DISPUTING, begin
from .samples import CREDIT

pytestmark = pytest.mark.connected


async def money(ledger: Ledger, user) -> tuple[int, int, int]:
    """Available, held and owed, in credits. Everybody begins with ten."""
    balance, _ = await ledger.balance(user)
    return balance.available // CREDIT, balance.held // CREDIT, balance.debt // CREDIT


async def count(database, table: str) -> int:
    async with database.statement() as connection:
        return (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()


# -- beginning ----------------------------------------------------------------------------------------------------


async def test_a_payment_is_begun_at_our_price_and_credits_nothing(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user, "medium")
    intent = await bank.sdk.v1.payment_intents.retrieve_async(begun.payment_intent)
    assert (intent.amount, intent.currency, intent.client_secret) == (4500, "usd", begun.client_secret)
    assert intent.metadata.to_dict() == {"payment_id": str(begun.payment_id), "user_id": str(user)}
    assert (begun.credits, begun.price, begun.currency) == (500 * CREDIT, 4500, "usd")
    assert (begun.publishable_key, begun.status) == ("pk_test_of_this_stack", "requires_payment_method")
    assert await money(operations, user) == (10, 0, 0)


async def test_the_packs_are_data_and_a_price_names_one(payments):
    offered = (await payments.packs()).packs
    assert [(pack.id, pack.price, pack.credits // CREDIT) for pack in offered] == [
        ("small", 1000, 100),
        ("medium", 4500, 500),
        ("large", 8000, 1000),
    ]
    for currency in (None, "usd", " USD "):
        created = await payments.create(
            CreatePayment(payment_id=uuid4(), user_id=uuid4(), price=8000, currency=currency)
        )
        assert created.payment.pack == "large"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "no_such_pack"),
        ({"pack": "huge"}, "no_such_pack"),
        ({"pack": ""}, "no_such_pack"),
        ({"price": 1001}, "price_mismatch"),
        ({"price": 1}, "price_mismatch"),
        ({"pack": "small", "price": 8000}, "price_mismatch"),
        ({"pack": "small", "currency": "eur"}, "currency_mismatch"),
        ({"price": 1000, "currency": "jpy"}, "currency_mismatch"),
        ({"pack": "small", "currency": ""}, "currency_mismatch"),
    ],
)
async def test_what_is_not_for_sale_at_that_price_is_refused_before_stripe_hears_of_it(
    payments, bank, database, asked, code
):
    before = await count(database, "payments")
    created = await payments.create(CreatePayment(payment_id=uuid4(), user_id=uuid4(), **asked))
    assert (created.payment, created.refusal.code) == (None, code)
    assert await bank.intents() == []
    assert await count(database, "payments") == before


@pytest.mark.parametrize("price", [0, -1, -1000, 10.5, 1e18, 10**18, 100_000_000, "1000", "much", True, float("nan")])
def test_a_price_is_a_whole_number_that_stripe_takes(price):
    with pytest.raises(ValidationError):
        CreatePayment(payment_id=uuid4(), user_id=uuid4(), price=price)


async def test_the_same_id_begins_once_and_for_nothing_else(payments, bank):
    asked = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
    first = await payments.create(asked)
    at_once = await asyncio.gather(*(payments.create(asked) for _ in range(5)))
    assert all(created == first for created in at_once)
    for other in (asked.model_copy(update={"pack": "large"}), asked.model_copy(update={"user_id": uuid4()})):
        assert (await payments.create(other)).refusal.code == "id_used"
    assert await bank.intents() == [first.payment.payment_intent]


@pytest.mark.parametrize("change", ["price = 1100", "is_offered = false"])
async def test_the_same_id_is_the_same_payment_whatever_the_pack_costs_by_now(payments, bank, database, change):
    named = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small", price=1000, currency="USD")
    first = await payments.create(named)
    set_ = "UPDATE credit_packs SET {} WHERE id = 'small'"
    async with database.statement() as connection:
        await connection.execute(text(set_.format(change)))
    try:
        priced, by_name = (named.model_copy(update={one: None}) for one in ("pack", "price"))
        assert [await payments.create(again) for again in (named, priced, by_name)] == [first] * 3
        for other in ({"price": 1100}, {"currency": "eur"}, {"pack": None, "price": None}):
            assert (await payments.create(named.model_copy(update=other))).refusal.code == "id_used"
        late = await payments.create(named.model_copy(update={"payment_id": uuid4()}))
        assert late.refusal.code in {"price_mismatch", "no_such_pack"}
    finally:
        async with database.statement() as connection:
            await connection.execute(text(set_.format("price = 1000, is_offered = true")))
    assert await bank.intents() == [first.payment.payment_intent]


async def test_five_at_once_under_one_id_make_one_intent(payments, bank):
    asked = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
    at_once = await asyncio.gather(*(payments.create(asked) for _ in range(5)))
    assert {created.payment.payment_intent for created in at_once} == set(await bank.intents())
    assert len(await bank.intents()) == 1


@pytest.mark.parametrize("fault", ["500", "502", "503", "429", "401", "lost", "reset"])
async def test_while_stripe_fails_it_is_said_and_the_next_try_gives_the_one_intent(payments, bank, operations, fault):
    """After `lost` and `reset` Stripe has made the intent, and we do not know it."""
    asked = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
    await bank.fail(fault)
    refusal = (await payments.create(asked)).refusal
    assert refusal.code == "unavailable"
    assert bank.key not in refusal.message
    begun = (await payments.create(asked)).payment
    assert await bank.intents() == [begun.payment_intent]
    assert await money(operations, asked.user_id) == (10, 0, 0)


async def test_stripe_answered_and_we_died_before_we_wrote_it_down(payments, bank, operations, monkeypatch):
    asked = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")

    async def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(payment_operations.rows, "link", die)
        with pytest.raises(KeyboardInterrupt):
            await payments.create(asked)
    (intent,) = await bank.intents()
    begun = (await payments.create(asked)).payment
    assert begun.payment_intent == intent
    await bank.pay(begun)
    await bank.tell(payments)
    assert await money(operations, asked.user_id) == (110, 0, 0)


async def test_an_intent_that_we_never_wrote_down_is_known_by_what_it_says_of_itself(
    payments, bank, operations, database
):
    """Even its dispute is not lost, which says nothing of us and comes first."""
    asked = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
    await bank.fail("lost")
    await payments.create(asked)
    (intent,) = await bank.intents()
    await bank.sdk.v1.payment_intents.confirm_async(
        intent, {"payment_method": DISPUTING, "return_url": "https://studio.example"}
    )
    dispute = await bank.tell(payments, "charge.dispute.created")
    assert [verdict.reason for verdict in dispute] == ["no payment of ours yet"]
    assert await money(operations, asked.user_id) == (10, 0, 0)
    await bank.tell(payments, "payment_intent.succeeded")
    assert await money(operations, asked.user_id) == (10, 0, 0)
    await bank.tell(payments)
    assert await money(operations, asked.user_id) == (10, 0, 0)
    page = await statement(database, StatementOf(user_id=asked.user_id, limit=10))
    assert [entry.granted // CREDIT for entry in page.entries if "payment" in entry.entry] == [-100, 100]


async def test_what_was_begun_a_day_ago_and_never_got_an_intent_is_not_begun_again(payments, bank, database):
    """Stripe may have forgotten the key, and then it would be another intent."""
    asked = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
    await bank.fail("500")
    await payments.create(asked)
    async with database.statement() as connection:
        await connection.execute(
            text("UPDATE payments SET created_at = now() - interval '1 day' WHERE id = :id"), {"id": asked.payment_id}
        )
    assert (await payments.create(asked)).refusal.code == "expired"
    assert await bank.intents() == []


async def test_without_a_key_nothing_is_offered(database, operations, bank):
    off = Payments(database, operations, PaymentSettings(stripe_webhook_secret=bank.secret))
    assert (await off.packs()).packs == ()
    created = await off.create(CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small"))
    assert created.refusal.code == "not_offered"
    assert (await off.receive(bank.webhook({}))).verdict == "refused"


# -- paid ---------------------------------------------------------------------------------------------------------


async def test_p10_success_reported_by_two_events_five_times_each_is_credited_once(payments, bank, operations):
    user = uuid4()
    await bank.pay(await begin(payments, user))
    events = await bank.events("payment_intent.succeeded", "charge.succeeded")
    assert len(events) == 2
    for _ in range(5):
        verdicts = [await payments.receive(bank.webhook(event)) for event in random.sample(events, 2)]
        assert {verdict.verdict for verdict in verdicts} == {"accepted"}
    assert await money(operations, user) == (110, 0, 0)


async def test_p10_two_processes_that_hear_of_it_at_the_same_moment_credit_it_once(
    payments, bank, operations, make_process, stripe_settings
):
    elsewhere = Payments(make_process(), Ledger(make_process(), 10 * CREDIT), stripe_settings)
    user = uuid4()
    for _ in range(5):
        await bank.pay(await begin(payments, user))
    events = await bank.events("payment_intent.succeeded", "charge.succeeded")
    webhooks = [bank.webhook(event) for event in events]
    await asyncio.gather(*(process.receive(webhook) for webhook in webhooks for process in (payments, elsewhere)))
    assert await money(operations, user) == (510, 0, 0)


async def test_a_payment_that_failed_is_not_credited(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    with pytest.raises(Exception, match="declined"):
        await bank.pay(begun, "pm_card_chargeDeclined")
    await bank.tell(payments)
    assert await money(operations, user) == (10, 0, 0)
    await bank.pay(begun)
    await bank.tell(payments)
    assert await money(operations, user) == (110, 0, 0)


async def test_confirming_credits_what_stripe_itself_says_was_paid_by_this_user(payments, bank, operations):
    user, stranger = uuid4(), uuid4()
    begun = await begin(payments, user)
    mine = ConfirmPayment(user_id=user, reference=begun.payment_intent)
    assert (await payments.confirm(mine)).state == "unpaid"
    await bank.pay(begun)
    for reference in (begun.payment_intent, str(begun.payment_id)):
        theirs = await payments.confirm(ConfirmPayment(user_id=stranger, reference=reference))
        assert (theirs.state, theirs.credits) == ("unknown", 0)
    await bank.fail("503")
    assert (await payments.confirm(mine)).state == "unavailable"
    for reference in (begun.payment_intent, str(begun.payment_id)):
        confirmed = await payments.confirm(mine.model_copy(update={"reference": reference}))
        assert (confirmed.state, confirmed.credits) == ("credited", 100 * CREDIT)
        assert confirmed.balance.available == 110 * CREDIT
    await bank.tell(payments)
    assert await money(operations, user) == (110, 0, 0)
    assert await money(operations, stranger) == (10, 0, 0)


async def test_a_canceled_payment_is_told_so_and_not_offered_again_as_another(payments, bank):
    begun = await begin(payments, user := uuid4())
    await bank.sdk.v1.payment_intents.cancel_async(begun.payment_intent)
    await bank.tell(payments)
    confirmed = await payments.confirm(ConfirmPayment(user_id=user, reference=begun.payment_intent))
    assert confirmed.state == "canceled"


async def test_what_was_taken_back_is_credited_no_more(payments, bank):
    begun = await begin(payments, user := uuid4())
    mine = ConfirmPayment(user_id=user, reference=begun.payment_intent)
    await bank.pay(begun)
    for amount, state, left in ((300, "credited", 70), (None, "canceled", 0)):
        await bank.refund(begun, amount)
        await bank.tell(payments)
        confirmed = await payments.confirm(mine)
        assert (confirmed.state, confirmed.credits) == (state, left * CREDIT)


async def test_what_names_no_payment_is_unknown(payments):
    for reference in ("", "pi_nobody", str(uuid4()), "' OR true --", "é" * 255):
        assert (await payments.confirm(ConfirmPayment(user_id=uuid4(), reference=reference))).state == "unknown"

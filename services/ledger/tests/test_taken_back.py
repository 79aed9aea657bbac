"""What refunds and disputes take back of a payment: what is new of it, from what is there, and the rest is owed."""

import random
from uuid import uuid4

import pytest
from sqlalchemy import text

from contracts.facts import Funded
from contracts.payments import ConfirmPayment, CreditPack
from contracts.questions import Affordable, ConsumeCredits, GrantCredits, SetPlan
from contracts.statement import StatementOf
from ledger.balances import Balances
from ledger.operations import Ledger
from ledger.payments.operations import Payments
from ledger.statement import statement

from .bank import DISPUTING, begin
from .samples import CREDIT, failed, request, requested
from .test_payments import money

pytestmark = pytest.mark.connected


async def spend(ledger: Ledger, user, credits_: int):
    """Sets so many credits aside."""
    asked = request(user, unit_price=credits_ * CREDIT)
    await ledger.hold([requested(asked)])
    return asked.generation_id


async def test_refunds_take_back_what_is_new_of_their_sum(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    for amount, left in ((300, 80), (200, 60), (None, 10)):
        await bank.refund(begun, amount)
        await bank.tell(payments)
        assert await money(operations, user) == (left, 0, 0)
    await bank.tell(payments)
    assert await money(operations, user) == (10, 0, 0)


async def test_an_older_sum_that_comes_later_changes_nothing(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.refund(begun, 300)
    await bank.refund(begun, 200)
    for event in reversed(await bank.events()):
        await payments.receive(bank.webhook(event))
    assert await money(operations, user) == (60, 0, 0)


async def test_f32_a_refund_before_the_success_is_taken_when_that_comes(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.refund(begun, 400)
    await bank.tell(payments, "charge.refunded")
    assert await money(operations, user) == (10, 0, 0)
    await bank.tell(payments, "payment_intent.succeeded")
    assert await money(operations, user) == (70, 0, 0)


async def test_p7_what_was_spent_already_is_owed_and_what_comes_in_pays_it_first(payments, bank, operations, database):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    generation = await spend(operations, user, 95)
    await bank.refund(begun)
    await bank.tell(payments)
    assert await money(operations, user) == (0, 95, 85)
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=user, amount=5 * CREDIT))
    assert await money(operations, user) == (0, 95, 80)
    await bank.pay(await begin(payments, user))
    await bank.tell(payments)
    assert await money(operations, user) == (20, 95, 0)
    await spend(operations, user, 21)
    assert await money(operations, user) == (20, 95, 0), "more than there is left is declined"
    await operations.settle([failed(generation)])
    assert await money(operations, user) == (115, 0, 0)


async def test_what_a_hold_gives_back_pays_what_is_owed(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    generation = await spend(operations, user, 110)
    await bank.refund(begun, 500)
    await bank.tell(payments)
    assert await money(operations, user) == (0, 110, 50)
    await operations.settle([failed(generation)])
    await payments.collect_debts()
    await payments.collect_debts()
    assert await money(operations, user) == (60, 0, 0)


async def test_p7_what_a_hold_gave_back_is_not_spent_before_it_paid_what_is_owed(
    payments, bank, operations, broker, database
):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    generation = await spend(operations, user, 110)
    await bank.refund(begun, 500)
    await bank.tell(payments)
    await operations.settle([failed(generation)])
    assert await money(operations, user) == (110, 0, 50)
    told = await Balances(operations, broker).of(user)
    assert (told.available, told.debt) == (60 * CREDIT, 0), "what it will take is not there to be spent"
    confirmed = await payments.confirm(ConfirmPayment(user_id=user, reference=begun.payment_intent))
    assert confirmed.balance == told
    async with database.statement() as connection:
        table = text("SELECT remaining_credits, total_credits FROM user_ai_credits WHERE user_id = :user")
        assert tuple((await connection.execute(table, {"user": user})).one()) == (60, 60)
    for asked, paid in ((request(user, unit_price=61 * CREDIT), False), (request(user, unit_price=60 * CREDIT), True)):
        affordable = Affordable(user_id=user, amount=asked.quote.amount)
        assert (await Balances(operations, broker).affordable(affordable)).affordable is paid
        consuming = ConsumeCredits(consumption_id=uuid4(), user_id=user, amount=61 * CREDIT)
        assert (await operations.consume(consuming)).state == "insufficient_credits"
        (answer,) = await operations.hold([requested(asked)])
        assert isinstance(answer, Funded) is paid
    await payments.collect_debts()
    assert await money(operations, user) == (0, 60, 0)


async def test_what_a_plan_gives_pays_what_is_owed(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    await spend(operations, user, 110)
    await bank.refund(begun, 500)
    await bank.tell(payments)
    assert await money(operations, user) == (0, 110, 50)
    await operations.set_plan(SetPlan(user_id=user, plan="basic"))
    assert await money(operations, user) == (50, 110, 0)


async def test_what_payments_and_debts_move_is_told(database, stripe_settings, bank):
    told: list[tuple[int, int]] = []
    ledger = Ledger(database, 10 * CREDIT, lambda moved: told.extend((each.available, each.change) for each in moved))
    payments, user = Payments(database, ledger, stripe_settings), uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun)
    await bank.tell(payments)
    assert told == [(110 * CREDIT, 100 * CREDIT)]
    generation = await spend(ledger, user, 110)
    await bank.refund(begun, 500)
    await bank.tell(payments)
    assert told[1:] == [(0, -110 * CREDIT), (0, 0)]
    await ledger.settle([failed(generation)])
    await payments.collect_debts()
    assert told[3:] == [(60 * CREDIT, 60 * CREDIT), (60 * CREDIT, 0)], "what a debt will take is not told as available"
    await payments.provider.close()


@pytest.mark.parametrize(("evidence", "left"), [("winning_evidence", (110, 0, 0)), ("losing_evidence", (10, 0, 0))])
async def test_a_dispute_takes_the_money_until_it_is_won(payments, bank, operations, evidence, left):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun, DISPUTING)
    await bank.tell(payments)
    assert await money(operations, user) == (10, 0, 0)
    await bank.end_dispute(begun, evidence)
    await bank.tell(payments)
    assert await money(operations, user) == left


async def test_a_dispute_that_is_won_pays_the_debt_that_it_made(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun, DISPUTING)
    await bank.tell(payments, "payment_intent.succeeded")
    await spend(operations, user, 110)
    await bank.tell(payments)
    assert await money(operations, user) == (0, 110, 100)
    await bank.end_dispute(begun, "winning_evidence")
    await bank.tell(payments)
    assert await money(operations, user) == (0, 110, 0)


async def test_an_inquiry_takes_nothing(payments, bank, operations):
    user = uuid4()
    await bank.pay(await begin(payments, user), DISPUTING)
    for event in await bank.events():
        if "dispute" in event["type"]:
            event["data"]["object"]["status"] = "warning_needs_response"
        await payments.receive(bank.webhook(event))
    assert await money(operations, user) == (110, 0, 0)


async def test_a_refund_and_a_dispute_together_take_no_more_than_was_paid(payments, bank, operations):
    user = uuid4()
    begun = await begin(payments, user)
    await bank.pay(begun, DISPUTING)
    await bank.refund(begun, 300)
    await bank.tell(payments)
    assert await money(operations, user) == (10, 0, 0)
    await bank.end_dispute(begun, "winning_evidence")
    await bank.tell(payments)
    assert await money(operations, user) == (80, 0, 0)


@pytest.mark.parametrize("seed", range(8))
async def test_p10_in_any_order_and_number_the_end_is_the_same(payments, bank, operations, seed):
    shuffled = random.Random(seed)
    users = {uuid4(): (40, 0, 0), uuid4(): (80, 0, 0), uuid4(): (10, 0, 0)}
    refunded, won, lost = [await begin(payments, user) for user in users]
    await bank.pay(refunded)
    await bank.refund(refunded, 300)
    await bank.refund(refunded, 400)
    for begun, evidence in ((won, "winning_evidence"), (lost, "losing_evidence")):
        await bank.pay(begun, DISPUTING)
        await bank.refund(begun, 300)
        await bank.end_dispute(begun, evidence)
    events = [event for event in await bank.events() for _ in range(shuffled.randint(1, 3))]
    shuffled.shuffle(events)
    for event in events:
        await payments.receive(bank.webhook(event))
    assert {user: await money(operations, user) for user in users} == users


async def test_the_statement_says_what_was_paid_and_taken_back(payments, bank, operations, database):
    user = uuid4()
    await spend(operations, user, 1)
    begun = await begin(payments, user)
    await bank.pay(begun, DISPUTING)
    await bank.refund(begun, 300)
    await bank.tell(payments, "payment_intent.succeeded", "charge.succeeded")
    await spend(operations, user, 50)
    await bank.tell(payments, "charge.refunded")
    await bank.tell(payments, "charge.dispute.created")
    await bank.end_dispute(begun, "winning_evidence")
    await bank.tell(payments)
    page = await statement(database, StatementOf(user_id=user, limit=100))
    told = [(entry.entry, entry.granted // CREDIT, entry.why) for entry in page.entries if entry.granted]
    assert told == [
        ("payment_restored", 70, "the dispute was won"),
        ("payment_reversal", -70, "disputed"),
        ("payment_reversal", -30, "refunded"),
        ("payment", 100, "paid"),
        ("starting_grant", 10, "a new user's credits"),
    ]
    balance, _ = await operations.balance(user)
    total = sum(entry.granted - entry.captured + entry.refunded for entry in page.entries)
    assert total == balance.available + balance.held - balance.debt


async def test_the_statement_says_disputed_also_where_that_was_heard_before_the_payment(
    payments, bank, operations, database
):
    user = uuid4()
    await bank.pay(await begin(payments, user), DISPUTING)
    await bank.tell(payments, "charge.dispute.created")
    await bank.tell(payments, "payment_intent.succeeded")
    page = await statement(database, StatementOf(user_id=user, limit=100))
    assert [entry.why for entry in page.entries if entry.entry == "payment_reversal"] == ["disputed"]


async def test_an_odd_price_is_taken_back_to_the_unit(payments, bank, operations, database):
    """Seven parts of a price that no unit divides add up to all of it."""
    pack = CreditPack(id="odd", credits=1_000_003, price=997, currency="usd")
    async with database.statement() as connection:
        await connection.execute(
            text("INSERT INTO credit_packs VALUES (:id, :credits, :price, :currency)"), pack.model_dump()
        )
    user = uuid4()
    begun = await begin(payments, user, "odd")
    await bank.pay(begun)
    for amount in (1, 100, 333, 7, 11, 500, None):
        await bank.refund(begun, amount)
        await bank.tell(payments)
    balance, _ = await operations.balance(user)
    assert (balance.available, balance.debt) == (10 * CREDIT, 0)

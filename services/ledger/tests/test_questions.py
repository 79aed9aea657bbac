"""What the ledger is asked on the bus, and what it answers: balances, prices, grants, what is for sale."""

from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from contracts.facts import Granted
from contracts.money import Balance, PriceList
from contracts.payments import CreatedPayment, CreatePayment, CreditPacks
from contracts.questions import (
    LEDGER_BALANCE,
    LEDGER_CREATE_PAYMENT,
    LEDGER_CREDIT_PACKS,
    LEDGER_GRANT,
    LEDGER_PRICES,
    BalanceOf,
    CreditsGranted,
    GrantCredits,
    Nothing,
)
from contracts.topology import CREDITS
from runtime.broker import last_on

from .samples import CREDIT
from .test_connected import ask, credit_balance

pytestmark = pytest.mark.connected


async def test_whoever_asks_for_their_balance_has_an_account_from_then_on(service, broker, database):
    """Frontends read it as a table, in which a stranger had no row: as if there were no starting credits."""
    user = uuid4()
    async with service():
        answers = [await ask(broker, LEDGER_BALANCE, BalanceOf(user_id=user), Balance) for _ in range(2)]
    assert [(answer.available, answer.held, answer.used) for answer in answers] == [(10 * CREDIT, 0, 0)] * 2
    async with database.statement() as connection:
        found = await connection.execute(
            text("SELECT remaining_credits FROM user_ai_credits WHERE user_id = :user"), {"user": user}
        )
        assert found.scalar_one() == 10


async def test_prices_are_told(service, broker):
    async with service():
        prices = await ask(broker, LEDGER_PRICES, Nothing(), PriceList)
    assert prices.prices["gpt-image-1.5"] == CREDIT


async def test_without_a_key_of_stripes_nothing_is_for_sale(service, broker):
    async with service():
        assert await ask(broker, LEDGER_CREDIT_PACKS, Nothing(), CreditPacks) == CreditPacks(packs=())
        question = CreatePayment(payment_id=uuid4(), user_id=uuid4(), pack="small")
        answer = await ask(broker, LEDGER_CREATE_PAYMENT, question, CreatedPayment)
        assert (answer.payment, answer.refusal.code) == (None, "not_offered")


async def test_a_grant_is_answered_and_said_once(service, broker, streams):
    gift = GrantCredits(grant_id=uuid4(), user_id=uuid4(), amount=5 * CREDIT, reason="sorry")
    async with service():
        for _ in range(3):
            answer = await ask(broker, LEDGER_GRANT, gift, Balance)
            assert (answer.available, answer.held, answer.used) == (15 * CREDIT, 0, 0)
    said = await streams.subjects(CREDITS)
    assert [subject for subject in said if "granted" in subject] == [f"credits.granted.{gift.user_id}"]
    said = Granted.decode(await last_on(broker, f"credits.granted.{gift.user_id}", stream="CREDITS"))
    assert (said.data.user_id, said.data.amount, said.data.reason) == (gift.user_id, 5 * CREDIT, "sorry")


async def test_a_grant_id_used_for_something_else_is_answered_with_the_reason(service, broker, streams):
    gift = GrantCredits(grant_id=uuid4(), user_id=uuid4(), amount=5 * CREDIT)
    async with service():
        assert (await ask(broker, LEDGER_GRANT, gift, CreditsGranted)).problem is None
        answer = await ask(broker, LEDGER_GRANT, gift.model_copy(update={"amount": 6 * CREDIT}), CreditsGranted)
    assert answer.problem == f"The grant {gift.grant_id} was given otherwise: 5 credits for {gift.user_id}."
    assert (answer.available, answer.held, answer.used) == (15 * CREDIT, 0, 0)
    said = [subject for subject in await streams.subjects(CREDITS) if "granted" in subject]
    assert said == [f"credits.granted.{gift.user_id}"]


async def test_b9_a_grant_of_no_proper_amount_posts_nothing_and_the_next_question_is_answered(service, broker):
    user = uuid4()
    async with service():
        for amount in ("0", "-1", "0.5", "1e18", '"1"', "true", "null", "10000000000000001", "NaN", ""):
            question = f'{{"grant_id": "{uuid4()}", "user_id": "{user}", "amount": {amount}}}'
            with pytest.raises((TimeoutError, ValidationError)):
                reply = await broker.connection.request(LEDGER_GRANT, question.encode(), timeout=0.2)
                Balance.model_validate_json(reply.data)
        assert await credit_balance(broker, user) == (10, 0, 0)

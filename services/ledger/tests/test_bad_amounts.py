"""Amounts that are none, for everything that takes one: a clear error, an answer to the next question, no posting."""

import json
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from contracts.facts import Funded, Outcome
from contracts.money import (
    Balance,
)
from contracts.questions import (
    LEDGER_BALANCE,
    LEDGER_CONSUME,
    LEDGER_GRANT,
    LEDGER_SET_PLAN,
    LEDGER_SET_PRICES,
    QUESTIONS,
    BalanceOf,
)
from ledger.pricing import price_list

from .samples import CREDIT, completed, failed, request, requested

pytestmark = pytest.mark.connected

AMOUNTS = {
    "nothing": "0",
    "negative": "-1",
    "a fraction of a unit": "0.5",
    "a fraction that is whole": "1.0",
    "a float that is huge": "1e18",
    "a string": '"1"',
    "a boolean": "true",
    "null": "null",
    "no number": "NaN",
    "money of a country": '{"value": 1, "currency": "EUR"}',
}
USER = str(uuid4())


def _question(subject: str, amount: str) -> str:
    fields = {
        LEDGER_GRANT: f'"grant_id": "{uuid4()}", "user_id": "{USER}", "amount": {amount}',
        LEDGER_CONSUME: f'"consumption_id": "{uuid4()}", "user_id": "{USER}", "amount": {amount}',
        LEDGER_SET_PRICES: f'"prices": [{{"model": "dall-e-2", "amount": {amount}}}]',
        LEDGER_SET_PLAN: f'"user_id": "{USER}", "plan": {amount.strip(chr(34))}',
    }
    return f"{{{fields[subject]}}}"


# A price of nothing can be meant: test_prices.py.
NAMED = [
    (subject, name)
    for subject in (LEDGER_GRANT, LEDGER_CONSUME, LEDGER_SET_PRICES, LEDGER_SET_PLAN)
    for name in AMOUNTS
    if (subject, name) != (LEDGER_SET_PRICES, "nothing")
]


@pytest.mark.parametrize(("subject", "name"), NAMED)
def test_b9_the_error_names_the_field(subject, name):
    with pytest.raises(ValidationError) as refused:
        QUESTIONS[subject][0].model_validate_json(_question(subject, AMOUNTS[name]))
    places = {str(part) for error in refused.value.errors() for part in error["loc"]}
    assert name == "no number" or places & {"amount", "plan"}


async def test_b9_none_of_them_moves_anything_and_the_next_question_is_answered(service, broker, database):
    balance = BalanceOf(user_id=USER).model_dump_json().encode()
    listed = await price_list(database)
    async with service():
        await broker.connection.request(LEDGER_BALANCE, balance, timeout=5)  # opens the account
        async with database.statement() as connection:
            before = (await connection.execute(text("SELECT count(*) FROM transactions"))).scalar_one()
        for subject in (LEDGER_GRANT, LEDGER_CONSUME, LEDGER_SET_PLAN, LEDGER_SET_PRICES):
            for amount in AMOUNTS.values():
                await broker.connection.publish(subject, _question(subject, amount).encode())
        reply = await broker.connection.request(LEDGER_BALANCE, balance, timeout=5)
    assert Balance.model_validate_json(reply.data).available == 10 * CREDIT
    async with database.statement() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM transactions"))).scalar_one() == before
    assert await price_list(database) == listed


async def test_b9_more_than_anybody_has_is_not_consumed(service, broker):
    asked = json.dumps({"consumption_id": str(uuid4()), "user_id": USER, "amount": 10**18})
    async with service():
        reply = await broker.connection.request(LEDGER_CONSUME, asked.encode(), timeout=5)
    assert json.loads(reply.data) == {"state": "insufficient_credits", "required": 10**18, "available": 10 * CREDIT}


async def test_a_released_hold_is_not_captured(operations, database):
    asked = request(uuid4())
    (said,) = await operations.hold([requested(asked)])
    assert isinstance(said, Funded)
    await operations.settle([failed(asked.generation_id)])
    async with database.statement() as connection:
        count = text("SELECT count(*) FROM transactions")
        before = (await connection.execute(count)).scalar_one()
        await operations.settle([completed(asked.generation_id)])
        assert (await connection.execute(count)).scalar_one() == before
    (told,) = await operations.hold([requested(asked)])
    assert isinstance(told, Outcome) and told.data.verdict == "failed"

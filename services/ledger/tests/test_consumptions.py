"""Credits that are consumed without a generation: exactly, once, and good for the next generation for a while."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts.facts import Funded, Request
from contracts.questions import (
    Affordable,
    ConsumeCredits,
    Consumption,
)
from ledger.balances import Balances
from ledger.operations import Ledger

from .samples import CREDIT, cancelled, completed, failed, request, requested


async def consume(ledger: Ledger, user: UUID, number: int, id_: UUID | None = None) -> Consumption:
    asked = ConsumeCredits(consumption_id=id_ or uuid4(), user_id=user, amount=number * CREDIT, reason="a picture")
    return await ledger.consume(asked)


async def hold(ledger: Ledger, user: UUID, number: int, *, prepaid: bool = True) -> Request | None:
    asked = request(user, count=number).model_copy(update={"prepaid": prepaid})
    (said,) = await ledger.hold([requested(asked)])
    return asked if isinstance(said, Funded) else None


async def money(ledger: Ledger, user: UUID) -> tuple[int, int, int]:
    found, _ = await ledger.balance(user)
    return found.available // CREDIT, found.held // CREDIT, found.used // CREDIT


async def purse(database, user: UUID, name: str) -> int:
    async with database.statement() as connection:
        query = "SELECT coalesce(sum(amount), 0)::bigint FROM postings WHERE user_id = :user AND purse = :purse"
        return (await connection.execute(text(query), {"user": user, "purse": name})).scalar_one() // CREDIT


async def age(database, user: UUID, minutes: int) -> None:
    async with database.statement() as connection:
        query = "UPDATE consumptions SET consumed_at = consumed_at - make_interval(mins => :m) WHERE user_id = :user"
        await connection.execute(text(query), {"m": minutes, "user": user})


async def test_p4_what_is_consumed_under_one_id_is_taken_once_also_at_the_same_moment(operations, make_process):
    user, id_ = uuid4(), uuid4()
    others = [Ledger(make_process(), 10 * CREDIT) for _ in range(2)]
    answers = await asyncio.gather(*(consume(each, user, 3, id_) for each in [*others, operations] * 3))
    assert {(answer.state, answer.available) for answer in answers} == {("consumed", 7 * CREDIT)}
    assert await money(operations, user) == (7, 0, 3)


async def test_an_id_that_was_used_for_something_else_takes_nothing(operations):
    user, id_ = uuid4(), uuid4()
    await consume(operations, user, 3, id_)
    assert (await consume(operations, user, 4, id_)).state == "mismatch"
    assert (await consume(operations, uuid4(), 3, id_)).state == "mismatch"
    assert await money(operations, user) == (7, 0, 3)


async def test_p7_more_than_there_is_is_not_consumed_in_part(operations):
    user = uuid4()
    answer = await consume(operations, user, 11)
    assert answer == Consumption(state="insufficient_credits", required=11 * CREDIT, available=10 * CREDIT)
    assert await money(operations, user) == (10, 0, 0)


async def test_p7_twenty_at_once_on_ten_credits_take_exactly_ten(operations, make_process):
    user = uuid4()
    processes = [operations, Ledger(make_process(), 10 * CREDIT)]
    answers = await asyncio.gather(*(consume(processes[number % 2], user, 1) for number in range(20)))
    assert sorted(answer.state for answer in answers) == ["consumed"] * 10 + ["insufficient_credits"] * 10
    assert await money(operations, user) == (0, 0, 10)


async def test_what_was_consumed_pays_first_for_the_next_generation(operations, database):
    user = uuid4()
    await consume(operations, user, 4)
    asked = await hold(operations, user, 6)
    assert await money(operations, user) == (4, 6, 0)
    await operations.settle([completed(asked.generation_id, 6)])
    assert await money(operations, user) == (4, 0, 6)
    assert await purse(database, user, "consumed") == 0


async def test_all_that_a_user_has_can_be_consumed_and_then_generated_with(operations, broker):
    user = uuid4()
    await consume(operations, user, 10)
    question = Affordable(user_id=user, amount=10 * CREDIT)
    balances = Balances(operations, broker)
    assert not (await balances.affordable(question)).affordable
    assert (await balances.affordable(question.model_copy(update={"prepaid": True}))).affordable
    assert await hold(operations, user, 10, prepaid=False) is None
    assert await hold(operations, user, 10) is not None
    assert await hold(operations, user, 1) is None


@pytest.mark.parametrize("ending", [failed, cancelled])
async def test_p5_a_generation_that_was_paid_before_and_failed_costs_nothing(operations, database, ending):
    """Consuming and generating were one purchase: all of it can be spent again, and never becomes revenue."""
    user = uuid4()
    await consume(operations, user, 4)
    asked = await hold(operations, user, 4)
    await operations.settle([ending(asked.generation_id)])
    await age(database, user, 16)
    await operations.spend()
    assert await money(operations, user) == (10, 0, 0)
    assert await purse(database, user, "revenue") == 0


async def test_p6_what_was_paid_before_and_not_delivered_comes_back(operations):
    user = uuid4()
    await consume(operations, user, 4)
    asked = await hold(operations, user, 4)
    await operations.settle([completed(asked.generation_id, 1)])
    assert await money(operations, user) == (9, 0, 1)


async def test_a_request_that_is_declined_leaves_what_was_consumed_where_it_is(operations, database):
    user = uuid4()
    await consume(operations, user, 4)
    assert await hold(operations, user, 11) is None
    assert await money(operations, user) == (6, 0, 4)
    assert await purse(database, user, "consumed") == 4


async def test_after_fifteen_minutes_it_pays_for_nothing_and_is_ours_once(operations, database, make_process):
    user = uuid4()
    await consume(operations, user, 4)
    await age(database, user, 14)
    await operations.spend()
    assert await purse(database, user, "consumed") == 4
    await age(database, user, 2)
    assert await hold(operations, user, 7) is None
    other = Ledger(make_process(), 10 * CREDIT)
    await asyncio.gather(*(each.spend() for each in [operations, other] * 3))
    assert (await purse(database, user, "consumed"), await purse(database, user, "revenue")) == (0, 4)
    assert await money(operations, user) == (6, 0, 4)


async def test_the_oldest_is_taken_first_and_two_generations_never_take_the_same(operations, make_process, database):
    user = uuid4()
    for _ in range(5):
        await consume(operations, user, 2)
    other = Ledger(make_process(), 10 * CREDIT)
    held = await asyncio.gather(*(hold(each, user, 3) for each in [operations, other] * 3))
    assert sum(asked is not None for asked in held) == 3
    assert await money(operations, user) == (0, 9, 1)
    async with database.statement() as connection:
        rows = await connection.execute(
            text("SELECT taken FROM consumptions WHERE user_id = :user ORDER BY consumed_at"), {"user": user}
        )
        assert [taken // CREDIT for taken in rows.scalars()] == [2, 2, 2, 2, 1]


async def test_a_request_delivered_again_takes_nothing_more(operations):
    user = uuid4()
    await consume(operations, user, 4)
    asked = request(user, count=2).model_copy(update={"prepaid": True})
    for _ in range(3):
        await operations.hold([requested(asked)])
    assert await money(operations, user) == (6, 2, 2)

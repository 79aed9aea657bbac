"""Plans: a month's credits are given once, a day's cap is never passed, whatever happens at the same moment."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts.facts import Funded, Outcome
from contracts.questions import (
    Affordable,
    GrantCredits,
    Plan,
    PlansOf,
    SetPlan,
)
from ledger import accounts
from ledger.balances import Balances
from ledger.domain.transactions import monthly_grant
from ledger.operations import Ledger
from ledger.plans import name_plans

from .samples import CREDIT, completed, failed, request, requested

ROUNDS = 10


@pytest.fixture
def pair(make_process) -> tuple[Ledger, Ledger]:
    return Ledger(make_process(), 100 * CREDIT), Ledger(make_process(), 100 * CREDIT)


_PLANS = text("""
    INSERT INTO plans (name, monthly_grant, daily_spend_cap)
    VALUES ('giving', 70000, NULL), ('bounded', 0, 50000) ON CONFLICT DO NOTHING
""")
"""One that gives, and one that bounds a day."""


async def on(ledger: Ledger, plan: str) -> UUID:
    """A user of this plan, with 100 credits."""
    async with ledger._database.statement() as connection:
        await connection.execute(_PLANS)
    user = uuid4()
    assert (await ledger.set_plan(SetPlan(user_id=user, plan=plan))).problem is None
    return user


async def available(ledger: Ledger, user: UUID) -> float:
    return (await ledger.balance(user))[0].available / CREDIT


def codes(facts: list[Funded | Outcome]) -> list[str]:
    return [fact.data.failure.code for fact in facts if isinstance(fact, Outcome)]


async def test_asked_which_plans_users_are_on_nobody_is_given_anything(pair, database):
    """Storage asks about whoever has something old, also of those who have not been here for months."""
    user, stranger = await on(pair[0], "giving"), uuid4()
    said = await name_plans(database, PlansOf(user_ids=(user, stranger)))
    assert {each.user_id: each.name for each in said.plans} == {user: "giving", stranger: "free"}
    async with database.statement() as connection:
        granted = "SELECT count(*) FROM transactions WHERE key LIKE :key"
        assert (await connection.execute(text(granted), {"key": f"monthly_grant:{user}:%"})).scalar_one() == 0
    assert await available(pair[0], user) == 107


# -- months ---------------------------------------------------------------------------------------------------


async def test_a_month_is_granted_once_when_it_is_first_looked_at(pair):
    user = await on(pair[0], "giving")
    for _ in range(3):
        assert await available(pair[0], user) == 107


async def test_p4_a_month_that_two_processes_grant_at_once_is_granted_once(pair, database):
    for _ in range(ROUNDS):
        user = await on(pair[0], "giving")
        await asyncio.gather(*(process.balance(user) for process in pair))
        assert await available(pair[0], user) == 107


async def test_a_request_that_only_this_months_credits_can_pay_is_funded(pair):
    """Nobody asked for the balance before."""
    user = await on(pair[0], "giving")
    (said,) = await pair[0].hold([requested(request(user, unit_price=107 * CREDIT))])
    assert isinstance(said, Funded)


async def test_the_next_month_is_granted_again(pair, database):
    user = await on(pair[0], "giving")
    async with database.transaction() as connection:
        await accounts.post(connection, [monthly_grant(user, "2020-01", CREDIT, "giving")])
    assert await available(pair[0], user) == 108


async def test_a_user_without_a_plan_of_their_own_is_given_nothing_more_than_the_starting_grant(operations):
    user = uuid4()
    assert (await operations.standing(user)).plan == Plan()
    await operations.hold([requested(request(user))])
    assert await available(operations, user) == 9


async def test_a_plan_that_does_not_exist_is_refused_and_the_old_one_stays(pair):
    user = await on(pair[0], "basic")
    before = await available(pair[0], user)
    answer = await pair[0].set_plan(SetPlan(user_id=user, plan="gold"))
    assert (answer.plan.name, "There is no such plan" in (answer.problem or "")) == ("basic", True)
    assert await available(pair[0], user) == before


# -- days -----------------------------------------------------------------------------------------------------


async def test_p7_a_daily_cap_is_not_passed_by_requests_at_the_same_moment(pair, database):
    """Five credits a day, a hundred on the account: fifty requests of one credit in two processes."""
    user = await on(pair[0], "bounded")
    facts = [requested(request(user)) for _ in range(50)]
    answers = await asyncio.gather(*(pair[number % 2].hold(facts[number * 5 : number * 5 + 5]) for number in range(10)))
    said = [fact for answer in answers for fact in answer]
    assert sum(isinstance(fact, Funded) for fact in said) == 5
    assert codes(said) == ["daily_cap_reached"] * 45
    assert await available(pair[0], user) == 95


async def test_what_was_released_today_can_be_spent_today(pair):
    user = await on(pair[0], "bounded")
    first, second = request(user, count=4), request(user, count=4)
    await pair[0].hold([requested(first)])
    assert codes(await pair[0].hold([requested(second)])) == ["daily_cap_reached"]
    await pair[0].settle([failed(first.generation_id)])
    third, fourth = request(user, count=5), request(user)
    assert codes(await pair[0].hold([requested(third), requested(fourth)])) == ["daily_cap_reached"]
    await pair[0].settle([completed(third.generation_id, 2)])
    assert codes(await pair[0].hold([requested(request(user, count=3)), requested(request(user))])) == [
        "daily_cap_reached"
    ]
    await pair[0].correct([failed(third.generation_id)])
    assert codes(await pair[0].hold([requested(request(user, count=2)), requested(request(user))])) == [
        "daily_cap_reached"
    ]


async def test_what_was_spent_yesterday_is_not_counted_today(pair, database):
    user = await on(pair[0], "bounded")
    asked = request(user, count=5)
    await pair[0].hold([requested(asked)])
    async with database.statement() as connection:
        await connection.execute(
            text(
                "UPDATE holds SET opened_at = date_trunc('day', now(), 'UTC') - interval '1 ms' WHERE user_id = :user"
            ),
            {"user": user},
        )
    assert codes(await pair[0].hold([requested(request(user, count=5))])) == []


async def test_a_declined_request_hears_the_same_reason_again(pair):
    user = await on(pair[0], "bounded")
    capped, poor = request(user, count=6), request(user, count=101)
    facts = [requested(capped), requested(poor)]
    for process in (pair[0], pair[1], pair[0]):
        said = {fact.data.generation_id: fact.data.failure.code for fact in await process.hold(facts)}
        assert said == {capped.generation_id: "daily_cap_reached", poor.generation_id: "insufficient_credits"}


async def test_affordable_says_what_the_cap_leaves_and_which_plan_it_is(pair, broker):
    user = await on(pair[0], "bounded")
    await pair[0].hold([requested(request(user, count=3))])
    balances = Balances(pair[0], broker)
    for number, expected in ((2, True), (3, False)):
        answer = await balances.affordable(Affordable(user_id=user, amount=number * CREDIT))
        assert (answer.affordable, answer.left_today, answer.available) == (expected, 2 * CREDIT, 97 * CREDIT)
        assert (answer.plan.name, answer.plan.daily_spend_cap) == ("bounded", 5 * CREDIT)


async def test_nobody_without_a_cap_pays_for_one(operations, database, monkeypatch):
    """The usual hold is one statement still."""
    user = uuid4()
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=user, amount=CREDIT))

    async def unusual(*_: object) -> None:
        raise AssertionError("the usual request took the long way")

    monkeypatch.setattr(Ledger, "_hold_all", unusual)
    (said,) = await operations.hold([requested(request(user))])
    assert isinstance(said, Funded)

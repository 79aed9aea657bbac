"""Somebody else's account pays: held, captured, refunded and said of it alone, however many users it pays for."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts.facts import Change, Funded, Outcome, Request, Verdict
from contracts.questions import ConsumeCredits, GrantCredits, SetPlan, StatementOf
from contracts.usage import UsageOf
from ledger.operations import Ledger
from ledger.statement import statement
from ledger.usage import usage

from .samples import CREDIT, completed, failed, request, requested, today


def paid_by(payer: UUID, user: UUID, number: int = 1) -> Request:
    return request(user, count=number).model_copy(update={"payer_id": payer})


async def money(ledger: Ledger, user: UUID) -> tuple[int, int, int]:
    """Available, held and used, in credits."""
    found, _ = await ledger.balance(user)
    return found.available // CREDIT, found.held // CREDIT, found.used // CREDIT


def funded(said: list[Funded | Outcome]) -> int:
    return sum(isinstance(fact, Funded) for fact in said)


async def known(ledger: Ledger, *users: UUID) -> None:
    """Gives them accounts, with ten credits each."""
    await asyncio.gather(*(ledger.set_plan(SetPlan(user_id=user, plan="free")) for user in users))


async def test_whoever_pays_is_held_and_charged_and_the_user_is_not(operations):
    payer, user = uuid4(), uuid4()
    asked, lost = paid_by(payer, user, 4), paid_by(payer, user, 2)
    assert funded(await operations.hold([requested(asked), requested(lost)])) == 2
    assert (await money(operations, payer), await money(operations, user)) == ((4, 6, 0), (10, 0, 0))
    await operations.settle([completed(asked.generation_id, 3), failed(lost.generation_id)])
    assert (await money(operations, payer), await money(operations, user)) == ((7, 0, 3), (10, 0, 0))


async def test_the_user_needs_no_account_and_the_fact_names_both(operations, database):
    payer, user = uuid4(), uuid4()
    (said,) = await operations.hold([requested(paid_by(payer, user))])
    assert (said.data.user_id, said.data.payer_id) == (user, payer)
    async with database.statement() as connection:
        query = text("SELECT count(*) FROM accounts WHERE user_id = ANY(CAST(:users AS uuid[]))")
        assert (await connection.execute(query, {"users": [user]})).scalar_one() == 0
        assert (await connection.execute(query, {"users": [payer]})).scalar_one() == 1


@pytest.mark.parametrize("own", [True, False])
async def test_what_the_user_has_is_no_reason(operations, own):
    """Not to fund what the payer cannot pay, nor to decline what he can."""
    rich, poor = uuid4(), uuid4()
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=rich, amount=90 * CREDIT))
    payer, user = (rich, poor) if own else (poor, rich)
    (said,) = await operations.hold([requested(paid_by(payer, user, 50))])
    assert isinstance(said, Funded) is own
    if not own:
        assert (said.data.verdict, said.data.failure.code) == (Verdict.DECLINED, "insufficient_credits")
        assert "10" not in said.data.failure.message
    assert await money(operations, user) == ((10, 0, 0) if own else (100, 0, 0))


async def test_p7_users_of_one_payer_at_once_never_overdraw_it(make_process, database):
    """And what each has of his own pays for nothing."""
    ledgers = [Ledger(make_process(), 10 * CREDIT) for _ in range(4)]
    payer, users = uuid4(), [uuid4(), uuid4()]
    await known(ledgers[0], payer, *users)
    asked = [paid_by(payer, users[number % 2]) for number in range(48)]
    batches = [asked[number::8] for number in range(8)]
    said = await asyncio.gather(
        *(ledgers[number % 4].hold([requested(each) for each in batch]) for number, batch in enumerate(batches))
    )
    assert sum(map(funded, said)) == 10
    assert await money(ledgers[0], payer) == (0, 10, 0)
    assert [await money(ledgers[0], user) for user in users] == [(10, 0, 0)] * 2


async def test_one_batch_holds_on_each_account_what_is_its_own(operations):
    """The payer uses it himself too, and a user pays elsewhere himself."""
    payer, user = uuid4(), uuid4()
    await known(operations, payer, user)
    asked = [paid_by(payer, user, 3), request(user, count=4), request(payer, count=5), paid_by(payer, user, 3)]
    said = await operations.hold([requested(each) for each in asked])
    assert funded(said) == 3
    assert (await money(operations, payer), await money(operations, user)) == ((2, 8, 0), (6, 4, 0))


async def test_the_day_of_whoever_pays_is_bounded_and_the_users_is_not(operations, database):
    async with database.statement() as connection:
        await connection.execute(
            text("INSERT INTO plans (name, monthly_grant, daily_spend_cap) VALUES ('tight', 0, 50000)")
        )
    payer, user = uuid4(), uuid4()
    await operations.set_plan(SetPlan(user_id=payer, plan="tight"))
    said = await operations.hold([requested(paid_by(payer, uuid4(), 2)) for _ in range(4)])
    assert funded(said) == 2
    assert {fact.data.failure.code for fact in said if isinstance(fact, Outcome)} == {"daily_cap_reached"}
    await operations.set_plan(SetPlan(user_id=user, plan="tight"))
    assert funded(await operations.hold([requested(paid_by(uuid4(), user, 9))])) == 1


async def test_said_again_it_is_held_once_by_whoever_paid_first(operations):
    payer, user = uuid4(), uuid4()
    asked = paid_by(payer, user, 3)
    own = asked.model_copy(update={"payer_id": None})
    await operations.hold([requested(asked), requested(asked)])
    await operations.hold([requested(own)])
    assert (await money(operations, payer), await money(operations, user)) == ((7, 3, 0), (10, 0, 0))


async def test_promise_5_what_was_charged_wrongly_is_given_back_to_whoever_paid(operations, database):
    payer, user = uuid4(), uuid4()
    asked = paid_by(payer, user, 3)
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id, 3)])
    for _ in range(2):
        await operations.correct([failed(asked.generation_id)])
    assert (await money(operations, payer), await money(operations, user)) == ((10, 0, 0), (10, 0, 0))
    async with database.statement() as connection:
        query = text("SELECT user_id FROM corrections WHERE generation_id = :id")
        assert (await connection.execute(query, {"id": asked.generation_id})).scalar_one() == payer


async def test_statement_usage_and_tables_are_of_whoever_paid(operations, database):
    day, payer, user = today(), uuid4(), uuid4()
    asked = paid_by(payer, user, 3)
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id, 3)])
    for who, expected in ((payer, [asked.generation_id]), (user, [])):
        entries = (await statement(database, StatementOf(user_id=who, limit=10))).entries
        assert [entry.generation_id for entry in entries if entry.entry == "generation"] == expected
        used = await usage(database, UsageOf(user_id=who, since=day, until=day))
        assert [entry.generation_id for entry in used.entries] == expected
        async with database.statement() as connection:
            logged = await connection.execute(text("SELECT id FROM ai_usage_logs WHERE user_id = :user"), {"user": who})
            assert [row.id for row in logged] == expected


async def test_a_change_is_told_of_the_payers_balance(database):
    told: list[Change] = []
    ledger = Ledger(database, 10 * CREDIT, told.extend)
    payer, user = uuid4(), uuid4()
    await known(ledger, payer, user)
    asked = paid_by(payer, user, 3)
    await ledger.hold([requested(asked)])
    await ledger.settle([completed(asked.generation_id, 3)])
    assert [(change.user_id, change.available // CREDIT) for change in told if change.change or change.used] == [
        (payer, 7),
        (payer, 7),
    ]


async def test_a_balance_settles_the_holds_on_it_whoever_asked_for_them(operations):
    """Those are the ids that are looked up in the log before the payer is told of his balance."""
    payer, user = uuid4(), uuid4()
    asked = paid_by(payer, user)
    await operations.hold([requested(asked)])
    assert (await operations.balance(payer))[1] == [asked.generation_id]
    assert (await operations.balance(user))[1] == []


async def test_what_a_user_consumed_pays_for_nothing_that_another_pays_for(operations):
    payer, user = uuid4(), uuid4()
    consumed = ConsumeCredits(consumption_id=uuid4(), user_id=user, amount=4 * CREDIT, reason="a picture")
    await operations.consume(consumed)
    asked = paid_by(payer, user, 3).model_copy(update={"prepaid": True})
    assert funded(await operations.hold([requested(asked)])) == 1
    assert (await money(operations, payer), await money(operations, user)) == ((7, 3, 0), (6, 0, 4))

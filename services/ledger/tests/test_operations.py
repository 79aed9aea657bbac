"""Holding, settling, correcting and granting on a real Postgres, duplicated, reordered and at the same time."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from contracts.facts import Funded, Outcome, Verdict
from contracts.money import (
    Balance,
)
from contracts.questions import (
    GrantCredits,
)
from ledger.operations import Ledger
from ledger.pricing import price_list

from .books import contradictions
from .samples import CREDIT, cancelled, completed, declined, failed, request, requested


async def balance(ledger: Ledger, user: UUID) -> tuple[int, int, int]:
    """Available, held and used, in credits."""
    found, _ = await ledger.balance(user)
    return found.available // CREDIT, found.held // CREDIT, found.used // CREDIT


async def row(database, generation_id: UUID):
    async with database.statement() as connection:
        found = await connection.execute(text("SELECT * FROM holds WHERE generation_id = :id"), {"id": generation_id})
        return found.one_or_none()


def funded(facts: list[Funded | Outcome]) -> set[UUID]:
    return {fact.data.generation_id for fact in facts if isinstance(fact, Funded)}


def ended(facts: list[Funded | Outcome]) -> list[Outcome]:
    return [fact for fact in facts if isinstance(fact, Outcome)]


async def test_a_user_never_seen_has_the_starting_grant_and_gets_it_once(operations):
    user = uuid4()
    assert await balance(operations, user) == (10, 0, 0)
    await operations.hold([requested(request(user))])
    await operations.hold([requested(request(user))])
    assert await balance(operations, user) == (8, 2, 0)


async def test_a_hold_is_funded_with_the_request_and_the_trace_it_came_with(operations):
    fact = requested(request(uuid4(), count=2))
    (answer,) = await operations.hold([fact])
    assert isinstance(answer, Funded)
    assert (answer.data, answer.source, answer.traceparent) == (fact.data, "ledger", fact.traceparent)


async def test_p7_fifty_requests_at_once_on_ten_credits_fund_exactly_ten(make_process, database):
    """Four processes, batches and singles mixed, each request delivered twice."""
    user = uuid4()
    processes = [Ledger(make_process(), 10 * CREDIT) for _ in range(4)]
    facts = [requested(request(user)) for _ in range(50)]
    deliveries = [
        facts[:20],
        facts[20:30],
        *([fact] for fact in facts[30:]),
        facts[10:40],
        *([fact] for fact in facts[:10]),
    ]
    random.Random(7).shuffle(deliveries)
    answers = await asyncio.gather(
        *(processes[number % 4].hold(delivery) for number, delivery in enumerate(deliveries))
    )
    said = [fact for answer in answers for fact in answer]
    assert len(funded(said)) == 10
    assert len({outcome.data.generation_id for outcome in ended(said)}) == 40
    assert {outcome.data.failure.code for outcome in ended(said)} == {"insufficient_credits"}
    assert await balance(processes[0], user) == (0, 10, 0)


async def test_two_users_interleaved_in_one_batch_are_each_charged_for_all_of_theirs(operations):
    """A batch is one update per account; an update that forgot to add up would charge each once."""
    anna, boris = uuid4(), uuid4()
    asked = [request(user, count=count) for user, count in [(anna, 1), (boris, 4), (anna, 2), (boris, 3), (anna, 3)]]
    assert len(funded(await operations.hold([requested(each) for each in asked]))) == 5
    assert await balance(operations, anna) == (4, 6, 0)
    assert await balance(operations, boris) == (3, 7, 0)
    await operations.settle([completed(each.generation_id, each.count) for each in asked])
    assert await balance(operations, anna) == (4, 0, 6)
    assert await balance(operations, boris) == (3, 0, 7)


async def test_p6_three_of_four_pictures_cost_three_times_the_unit_price(operations, database):
    asked = request(uuid4(), count=4)
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id, 3)])
    assert await balance(operations, asked.user_id) == (7, 0, 3)
    assert (await row(database, asked.generation_id)).captured == 3 * CREDIT


async def test_p6_more_than_was_asked_for_costs_no_more_than_the_quote(operations):
    asked = request(uuid4(), count=2)
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id, 4)])
    assert await balance(operations, asked.user_id) == (8, 0, 2)


async def test_what_is_free_is_held_and_captured_without_a_transaction(operations, database):
    asked = request(uuid4(), unit_price=0)
    assert funded(await operations.hold([requested(asked)])) == {asked.generation_id}
    await operations.settle([completed(asked.generation_id)])
    assert (await row(database, asked.generation_id)).state == "captured"
    assert await balance(operations, asked.user_id) == (10, 0, 0)


@pytest.mark.parametrize("outcome", [failed, cancelled, declined])
async def test_p5_what_did_not_complete_costs_nothing(operations, outcome):
    asked = request(uuid4(), count=4)
    await operations.hold([requested(asked)])
    await operations.settle([outcome(asked.generation_id)])
    assert await balance(operations, asked.user_id) == (10, 0, 0)


async def test_p4_an_outcome_said_twenty_times_is_charged_once(operations, make_process, database):
    asked = request(uuid4(), count=4)
    await operations.hold([requested(asked)])
    outcome = completed(asked.generation_id, 4)
    other = Ledger(make_process(), 10 * CREDIT)
    await asyncio.gather(*(each.settle([outcome, outcome]) for each in [operations, other] * 5))
    assert await balance(operations, asked.user_id) == (6, 0, 4)
    assert (await row(database, asked.generation_id)).disputed_at is None


async def test_promise_3_an_outcome_before_its_request_closes_the_id(operations, database):
    asked = request(uuid4())
    outcome = cancelled(asked.generation_id)
    await operations.settle([outcome])
    said = await operations.hold([requested(asked)])
    assert funded(said) == set()
    assert [each.id for each in ended(said)] == [outcome.id]
    assert await balance(operations, asked.user_id) == (10, 0, 0)
    assert (await row(database, asked.generation_id)).amount == 0


async def test_promise_2_a_request_after_its_capture_starts_nothing_and_repeats_the_outcome_verbatim(operations):
    asked = request(uuid4())
    outcome = completed(asked.generation_id)
    await operations.hold([requested(asked)])
    await operations.settle([outcome])
    said = await operations.hold([requested(asked)])
    assert said == [outcome]
    assert await balance(operations, asked.user_id) == (9, 0, 1)


async def test_promise_2_a_request_driven_again_is_funded_again_and_held_once(operations):
    asked = request(uuid4())
    for _ in range(3):
        assert funded(await operations.hold([requested(asked)])) == {asked.generation_id}
    assert await balance(operations, asked.user_id) == (9, 1, 0)


async def test_declined_then_topped_up_then_driven_again_stays_declined(operations, database):
    asked = request(uuid4(), count=11)
    (first,) = await operations.hold([requested(asked)])
    assert first.data.verdict is Verdict.DECLINED
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=asked.user_id, amount=100 * CREDIT))
    (again,) = await operations.hold([requested(asked)])
    assert again.id == first.id
    await operations.settle([first])
    assert await operations.hold([requested(asked)]) == [first]
    assert await balance(operations, asked.user_id) == (110, 0, 0)
    assert (await row(database, asked.generation_id)).state == "declined"


async def test_promise_6_what_was_declined_is_not_captured_whatever_is_said_later(operations, database):
    asked = request(uuid4(), count=11)
    await operations.hold([requested(asked)])
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=asked.user_id, amount=100 * CREDIT))
    await operations.hold([requested(request(asked.user_id, count=20))])
    await operations.settle([completed(asked.generation_id, 11)])
    assert await balance(operations, asked.user_id) == (90, 20, 0)
    found = await row(database, asked.generation_id)
    assert (found.state, found.captured) == ("declined", 0)
    assert found.disputed_at is not None


async def test_promise_10_an_amount_that_no_float_can_hold_is_counted_to_the_unit(operations, database):
    asked = request(uuid4(), unit_price=2**53 + 1)
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=asked.user_id, amount=2**53 + 3))
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id)])
    found, _ = await operations.balance(asked.user_id)
    assert (found.available, found.held, found.used) == (10 * CREDIT + 2, 0, 2**53 + 1)


async def test_a_request_that_cannot_be_counted_is_refused_and_changes_nothing(operations, database):
    asked = request(uuid4(), unit_price=10**30)
    with pytest.raises(DBAPIError):
        await operations.hold([requested(asked)])
    assert await row(database, asked.generation_id) is None


async def test_an_outcome_is_kept_verbatim_whatever_a_provider_wrote(operations):
    asked = request(uuid4())
    said = (
        failed(asked.generation_id)
        .encode()
        .replace(b"It did not work.", rb"zero \u0000 \"quoted\" \\u0000 \ud83d\ude00 $1 :x")
    )
    outcome = Outcome.decode(said)
    await operations.hold([requested(asked)])
    await operations.settle([outcome])
    assert await operations.hold([requested(asked)]) == [outcome]


async def test_f31_opening_and_closing_raced_200_times_never_leave_an_open_hold(make_process, database):
    """Whichever commits first, the other sees it: never an open hold on a closed id, never a lost release."""
    users = [uuid4() for _ in range(5)]
    holder, settler = (Ledger(make_process(), 100 * CREDIT) for _ in range(2))
    for _ in range(10):
        asked = [request(random.choice(users)) for _ in range(20)]
        outcomes = [completed(each.generation_id) for each in asked]
        random.shuffle(outcomes)
        await asyncio.gather(
            holder.hold([requested(each) for each in asked[:10]]),
            settler.settle(outcomes[:10]),
            holder.hold([requested(each) for each in asked[10:]]),
            settler.settle(outcomes[10:]),
        )
        for each in asked:
            assert (await row(database, each.generation_id)).state in {"captured", "released"}
    for user in users:
        assert (await balance(holder, user))[1] == 0


async def test_random_deliveries_in_three_processes_keep_the_books_right(make_process, database):
    chance = random.Random(20261121)
    users = [uuid4() for _ in range(4)]
    processes = [Ledger(make_process(), 10 * CREDIT) for _ in range(3)]
    asked = [request(chance.choice(users), count=chance.randint(1, 4)) for _ in range(60)]
    outcomes = {
        each.generation_id: chance.choice(
            [failed(each.generation_id), completed(each.generation_id, chance.randint(0, 4))]
        )
        for each in asked
    }
    for _ in range(12):
        work = []
        for process in processes:
            some = chance.sample(asked, 12)
            work.append(process.hold([requested(each) for each in some]))
            work.append(process.settle([outcomes[each.generation_id] for each in chance.sample(asked, 6)]))
        await asyncio.gather(*work)
        assert await contradictions(database) == {}
    await processes[0].settle(list(outcomes.values()))
    for user in users:
        found, still_open = await processes[0].balance(user)
        assert (found.held, still_open) == (0, [])


# -- grants ---------------------------------------------------------------------------------------------------


async def test_a_grant_is_given_once(operations):
    gift = GrantCredits(grant_id=uuid4(), user_id=uuid4(), amount=5 * CREDIT, reason="sorry")
    facts = await asyncio.gather(*(operations.grant(gift) for _ in range(5)))
    assert {fact.id for fact in facts} == {facts[0].id}
    assert (facts[0].data.user_id, facts[0].data.amount, facts[0].data.reason) == (gift.user_id, 5 * CREDIT, "sorry")
    assert await balance(operations, gift.user_id) == (15, 0, 0)
    again = await operations.grant(gift.model_copy(update={"reason": "another word"}))
    assert again.data == facts[0].data


async def test_a_grant_id_used_for_something_else_is_refused(operations):
    gift = GrantCredits(grant_id=uuid4(), user_id=uuid4(), amount=5 * CREDIT)
    await operations.grant(gift)
    for other in (gift.model_copy(update={"amount": 6 * CREDIT}), gift.model_copy(update={"user_id": uuid4()})):
        with pytest.raises(ValueError, match="given otherwise"):
            await operations.grant(other)
        assert await balance(operations, gift.user_id) == (15, 0, 0)


@pytest.mark.parametrize("amount", [10**16 + 1, 10**18, 10**30])
async def test_b9_an_amount_beyond_all_measure_is_refused(operations, amount):
    gift = GrantCredits(grant_id=uuid4(), user_id=uuid4(), amount=amount)
    with pytest.raises(ValueError, match="not an amount to give"):
        await operations.grant(gift)
    assert await operations.balance(gift.user_id) == (Balance(available=10 * CREDIT, held=0, used=0), [])


# -- corrections ----------------------------------------------------------------------------------------------


async def correction(database, generation_id: UUID):
    async with database.statement() as connection:
        found = await connection.execute(
            text("SELECT type, amount, told->>'id' AS told FROM corrections WHERE generation_id = :id"),
            {"id": generation_id},
        )
        return found.one_or_none()


async def test_promise_5_captured_though_told_otherwise_is_refunded_once(operations, database):
    asked = request(uuid4(), count=3)
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id, 3)])
    told = cancelled(asked.generation_id)
    await operations.settle([told])
    assert (await row(database, asked.generation_id)).disputed_at is not None
    for _ in range(3):
        await operations.correct([told])
    assert await balance(operations, asked.user_id) == (10, 0, 0)
    assert tuple(await correction(database, asked.generation_id)) == ("refund", 3 * CREDIT, str(told.id))
    assert (await row(database, asked.generation_id)).disputed_at is None
    assert await operations.hold([requested(asked)]) == [told], "what the client was told is what is said from now on"


async def test_promise_5_released_though_told_completed_is_written_off_and_never_captured(operations, database):
    asked = request(uuid4(), count=3)
    await operations.hold([requested(asked)])
    await operations.settle([failed(asked.generation_id)])
    told = completed(asked.generation_id, 2)
    await operations.settle([told])
    for _ in range(3):
        await operations.correct([told])
    assert await balance(operations, asked.user_id) == (10, 0, 0)
    assert tuple(await correction(database, asked.generation_id)) == ("write_off", 2 * CREDIT, str(told.id))
    async with database.statement() as connection:
        posted = await connection.execute(
            text("SELECT purse, sum(amount) FROM postings WHERE user_id = :user GROUP BY purse"),
            {"user": asked.user_id},
        )
        house = {each.purse: int(each.sum) for each in posted if each.purse in {"revenue", "writeoff"}}
        assert house == {"revenue": 2 * CREDIT, "writeoff": -2 * CREDIT}


async def test_a_dispute_about_nothing_ends_without_a_correction(operations, database):
    asked = request(uuid4())
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id)])
    await operations.settle([failed(asked.generation_id)])
    await operations.correct([completed(asked.generation_id)])
    assert await correction(database, asked.generation_id) is None
    assert (await row(database, asked.generation_id)).disputed_at is None
    assert await balance(operations, asked.user_id) == (9, 0, 1)


# -- prices ---------------------------------------------------------------------------------------------------


async def test_ten_starting_credits_are_ten_pictures(database):
    prices = await price_list(database)
    assert prices.version == 1
    assert {prices.quote(model, 10).amount for model in ("seedream-3-0-t2i-250415", "dall-e-2", "dall-e-3")} == {
        10 * CREDIT
    }
    assert all(price.amount > 0 for price in prices.table), "nothing is free by mistake"
    assert prices.quote("unpriced", 1) is None


async def test_a_new_price_list_replaces_the_old_one_as_a_whole(database):
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO prices (version, model, amount) VALUES (2, 'dall-e-3', 20000)"))
    prices = await price_list(database)
    assert (prices.version, prices.prices) == (2, {"dall-e-3": 20000})


async def test_size_quality_and_duration_have_prices_and_the_providers_stand_beside(database):
    first = await price_list(database)
    if first.version == 1:
        assert first.quote("dall-e-3", 1, quality="hd").amount == 2 * CREDIT
        assert {price.provider_cost_micros for price in first.of("dall-e-3")} == {40_000, 80_000}
    async with database.transaction() as connection:
        await connection.execute(
            text("""
                INSERT INTO prices (version, model, size, quality, per, amount, provider_cost_micros) VALUES
                (9, 'painter', '', '', 'output', 10000, 30000), (9, 'painter', '4096x4096', '', 'output', 25000, NULL),
                (9, 'filmer', '', '', 'second', 5000, 12000), (9, 'orphan', '', 'high', 'output', 1, NULL)
            """)
        )
    prices = await price_list(database)
    assert prices.quote("painter", 2, size="4096x4096").amount == 50_000
    assert prices.quote("filmer", 1, seconds=5).amount == 25_000
    assert prices.quote("orphan", 1, quality="high") is None
    assert [price.provider_cost_micros for price in prices.of("painter")] == [30_000, None]

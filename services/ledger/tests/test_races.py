"""Several processes at the same moment: the same business is done once, and nobody waits for ever."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts.facts import Outcome
from contracts.questions import (
    GrantCredits,
)
from ledger.operations import Ledger

from .samples import CREDIT, cancelled, completed, failed, request, requested

ROUNDS = 20


def expired(generation_id: UUID) -> Outcome:
    return failed(generation_id, "expired", "ledger")


@pytest.fixture
def pair(make_process) -> tuple[Ledger, Ledger]:
    return Ledger(make_process(), 100 * CREDIT), Ledger(make_process(), 100 * CREDIT)


async def opened(ledger: Ledger, user: UUID) -> list[UUID]:
    """As many holds of one credit as there are rounds."""
    asked = [request(user) for _ in range(ROUNDS)]
    await ledger.hold([requested(each) for each in asked])
    return [each.generation_id for each in asked]


@pytest.mark.parametrize("otherwise", [expired, cancelled, failed])
async def test_promise_6_a_hold_that_ends_in_two_ways_at_once_ends_in_one(pair, database, otherwise):
    """What was released is not captured, what was captured is not released, and the other outcome is not forgotten."""
    user = uuid4()
    for generation_id in await opened(pair[0], user):
        await asyncio.gather(
            pair[0].settle([completed(generation_id)]),
            pair[1].settle([otherwise(generation_id)]),
        )
    async with database.statement() as connection:
        found = await connection.execute(text("SELECT * FROM holds WHERE user_id = :user"), {"user": user})
        ended = found.all()
    captured = sum(each.captured for each in ended)
    assert captured == CREDIT * sum(each.state == "captured" for each in ended)
    assert all(each.disputed_at is not None for each in ended)
    balance, still_open = await pair[0].balance(user)
    assert (balance.available, balance.held, balance.used) == (100 * CREDIT - captured, 0, captured)
    assert still_open == []


async def test_p4_a_capture_in_two_processes_at_once_is_one(pair, database):
    user = uuid4()
    for generation_id in await opened(pair[0], user):
        await asyncio.gather(*(process.settle([completed(generation_id)]) for process in pair))
    balance, _ = await pair[0].balance(user)
    assert (balance.available, balance.held, balance.used) == (80 * CREDIT, 0, 20 * CREDIT)


async def test_p10_a_grant_to_somebody_known_in_two_processes_at_once_is_given_once(pair, database):
    """A stranger's account is made first, and whoever makes it holds up the other: only the known are raced for."""
    user = uuid4()
    await opened(pair[0], user)
    for _ in range(ROUNDS):
        gift = GrantCredits(grant_id=uuid4(), user_id=user, amount=1)
        facts = await asyncio.gather(*(process.grant(gift) for process in pair))
        assert facts[0].id == facts[1].id
    balance, _ = await pair[0].balance(user)
    assert balance.available == 80 * CREDIT + ROUNDS


async def test_promise_5_a_correction_in_two_processes_at_once_is_made_once(pair, database):
    user = uuid4()
    ids = await opened(pair[0], user)
    await pair[0].settle([completed(generation_id) for generation_id in ids])
    for generation_id in ids:
        await asyncio.gather(*(process.correct([failed(generation_id)]) for process in pair))
    balance, _ = await pair[0].balance(user)
    assert (balance.available, balance.held, balance.used) == (100 * CREDIT, 0, 0)


async def test_batches_in_opposite_orders_never_wait_for_each_other_in_a_circle(make_process, database):
    """Ids and accounts are locked in their own order, so a deadlock, which is an error here, cannot happen."""
    users = [uuid4() for _ in range(20)]
    processes = [Ledger(make_process(), 1000 * CREDIT) for _ in range(4)]
    for _ in range(8):
        asked = [request(user) for user in users]
        facts, outcomes = [requested(each) for each in asked], [failed(each.generation_id) for each in asked]
        await asyncio.gather(
            processes[0].hold(facts),
            processes[1].hold(facts[::-1]),
            processes[2].settle(outcomes),
            processes[3].settle(outcomes[::-1]),
        )


async def test_settling_for_the_same_users_in_opposite_orders_never_waits_in_a_circle(make_process, database):
    users = [uuid4() for _ in range(30)]
    processes = [Ledger(make_process(), 1000 * CREDIT) for _ in range(4)]
    for _ in range(8):
        batches = [[request(user) for user in users] for _ in processes]
        for asked in batches:
            await processes[0].hold([requested(each) for each in asked])
            random.shuffle(asked)
        await asyncio.gather(
            *(
                process.settle([completed(each.generation_id) for each in asked])
                for process, asked in zip(processes, batches, strict=True)
            )
        )

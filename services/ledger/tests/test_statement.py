"""A user's statement: every generation and every gift, what it did to the credits, and why."""

from uuid import uuid4

import pytest

from contracts.questions import LEDGER_STATEMENT, GrantCredits
from contracts.statement import Statement, StatementOf
from ledger.statement import statement

from .samples import CREDIT, cancelled, completed, failed, request, requested

pytestmark = pytest.mark.connected


async def held(operations, user, **wishes):
    asked = request(user, **wishes)
    await operations.hold([requested(asked)])
    return asked.generation_id


@pytest.fixture
async def spender(operations):
    """A user to whom everything happened that can happen."""
    user = uuid4()
    whole, part, lost, ended = [await held(operations, user, count=count) for count in (1, 4, 2, 1)]
    await operations.settle([completed(whole), completed(part, 3), failed(lost), cancelled(ended)])
    await operations.grant(GrantCredits(grant_id=uuid4(), user_id=user, amount=5 * CREDIT, reason="for the trouble"))
    too_much = await held(operations, user, count=1, unit_price=100 * CREDIT)
    expired = await held(operations, user)
    await operations.settle([failed(expired, "expired", "ledger")])
    await operations.correct([failed(whole)])
    still = await held(operations, user, count=2)
    return user, (whole, part, lost, ended, too_much, expired, still)


async def pages(database, user, limit):
    entries, cursor = [], None
    while True:
        page = await statement(database, StatementOf(user_id=user, limit=limit, cursor=cursor))
        assert len(page.entries) <= limit
        entries += page.entries
        cursor = page.cursor
        if cursor is None:
            return entries


async def test_each_generation_says_what_it_cost_and_why(database, spender):
    user, (whole, part, lost, ended, too_much, expired, still) = spender
    page = await statement(database, StatementOf(user_id=user, limit=100))
    by_id = {entry.generation_id: entry for entry in page.entries if entry.generation_id}
    told = {
        id_: (e.state, e.quote // CREDIT, e.captured // CREDIT, e.released // CREDIT, e.refunded // CREDIT)
        for id_, e in by_id.items()
    }
    assert told == {
        whole: ("captured", 1, 1, 0, 1),
        part: ("captured", 4, 3, 1, 0),
        lost: ("released", 2, 0, 2, 0),
        ended: ("released", 1, 0, 1, 0),
        too_much: ("declined", 100, 0, 0, 0),
        expired: ("expired", 1, 0, 1, 0),
        still: ("open", 2, 0, 0, 0),
    }
    assert by_id[part].why == "Completed: 3 delivered."
    assert by_id[lost].why == "Failed: It did not work."
    assert by_id[ended].why == "Cancelled."
    assert by_id[too_much].why == "There were not enough credits."
    assert by_id[still].why == "Held until it ends."
    assert by_id[whole].why.startswith("Failed: It did not work. It was charged otherwise before")
    gifts = [(entry.entry, entry.granted // CREDIT, entry.why) for entry in page.entries if entry.granted]
    assert gifts == [("grant", 5, "for the trouble"), ("starting_grant", 10, "a new user's credits")]


async def test_the_entries_add_up_to_the_balance(database, operations, spender):
    user, _ = spender
    entries = await pages(database, user, 100)
    balance, _ = await operations.balance(user)
    total = sum(entry.granted - entry.captured + entry.refunded for entry in entries)
    assert total == balance.available + balance.held
    assert sum(entry.quote for entry in entries if entry.state == "open") == balance.held


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 9])
async def test_pages_of_any_length_show_every_entry_once_newest_first(database, spender, limit):
    user, ids = spender
    entries = await pages(database, user, limit)
    assert entries == await pages(database, user, 500)
    assert len(entries) == len(ids) + 2
    assert [entry.at for entry in entries] == sorted((entry.at for entry in entries), reverse=True)


async def test_entries_of_one_moment_are_not_lost_between_pages(database, operations):
    """A batch opens its holds in one transaction, so they have one time."""
    user = uuid4()
    asked = [request(user) for _ in range(6)]
    await operations.hold([requested(each) for each in asked])
    entries = await pages(database, user, 2)
    assert {entry.generation_id for entry in entries if entry.generation_id} == {each.generation_id for each in asked}
    assert len(entries) == 7


async def test_a_stranger_has_an_empty_statement_and_nobody_sees_anothers(database, spender):
    page = await statement(database, StatementOf(user_id=uuid4(), limit=10))
    assert page == Statement(entries=(), cursor=None)


@pytest.mark.parametrize(
    "cursor", ["x", "", "MjAyNi0wMS0wMXxh", "é", "MjAyNi0xMS0yNVQwMDowMDowMCswMDowMHwA", "Z" * 3000]
)
async def test_a_cursor_that_is_not_ours_is_told_so(database, cursor):
    page = await statement(database, StatementOf(user_id=uuid4(), limit=10, cursor=cursor))
    assert (page.is_cursor_known, page.entries, page.cursor) == (False, (), None)


async def test_it_is_answered_on_the_bus(service, broker, operations, spender):
    user, ids = spender
    question = StatementOf(user_id=user, limit=500).model_dump_json().encode()
    async with service():
        answer = await broker.connection.request(LEDGER_STATEMENT, question, timeout=5)
    assert len(Statement.model_validate_json(answer.data).entries) == len(ids) + 2

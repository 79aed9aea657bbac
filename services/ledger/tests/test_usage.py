"""What a user's credits went into, by page and by day, kind and model; and the word that a balance changed."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from contracts.facts import Changed
from contracts.questions import LEDGER_USAGE, ConsumeCredits, GrantCredits
from contracts.statement import StatementOf
from contracts.topology import CREDITS, changed_subject
from contracts.usage import (
    UsageOf,
    UsageReport,
)
from ledger.announcements import Changes
from ledger.operations import Ledger
from ledger.statement import statement
from ledger.usage import usage
from runtime.broker import last_on

from .samples import CREDIT, completed, failed, request, requested, today
from .test_connected import eventually

pytestmark = pytest.mark.connected


def of(user, **fields) -> UsageOf:
    return UsageOf(**({"user_id": user, "since": today() - timedelta(days=1), "until": today()} | fields))


@pytest.fixture
async def spender(operations, database):
    """Three pictures of four, a failure, a dear refusal, one yesterday, and something consumed."""
    today()
    user = uuid4()
    part, lost, dear, old = (request(user, count=count) for count in (4, 2, 100, 1))
    await operations.hold([requested(each) for each in (part, lost, dear, old)])
    await operations.settle(
        [completed(part.generation_id, 3), failed(lost.generation_id), completed(old.generation_id)]
    )
    asked = ConsumeCredits(consumption_id=uuid4(), user_id=user, amount=2 * CREDIT, reason="a sticker")
    await operations.consume(asked)
    async with database.statement() as connection:
        move = "UPDATE holds SET opened_at = opened_at - interval '1 day' WHERE generation_id = :id"
        await connection.execute(text(move), {"id": old.generation_id})
    return user, {"part": part, "lost": lost, "dear": dear, "old": old}


async def test_each_use_says_what_it_was_and_took(database, spender):
    user, asked = spender
    report = await usage(database, of(user))
    found = {entry.generation_id: entry for entry in report.entries}
    told = {
        name: (found[each.generation_id].state, found[each.generation_id].delivered, found[each.generation_id].used)
        for name, each in asked.items()
    }
    assert told == {
        "part": ("captured", 3, 3 * CREDIT),
        "lost": ("released", 0, 0),
        "dear": ("declined", 0, 0),
        "old": ("captured", 1, CREDIT),
    }
    assert {(entry.kind, entry.model) for id_, entry in found.items() if id_} == {("image", "dall-e-3")}
    assert (found[None].state, found[None].used, found[None].reason) == ("consumed", 2 * CREDIT, "a sticker")
    assert report.total == 5


async def test_totals_are_by_day_kind_and_model(database, spender):
    user, _ = spender
    totals = (await usage(database, of(user))).totals
    assert [(each.day, each.kind, each.model, each.number, each.used // CREDIT) for each in totals] == [
        (today(), "image", "dall-e-3", 3, 3),
        (today(), None, None, 1, 2),
        (today() - timedelta(days=1), "image", "dall-e-3", 1, 1),
    ]


async def test_pages_are_the_whole_without_repetition_and_nobody_elses(database, operations, spender):
    user, _ = spender
    await operations.hold([requested(request(uuid4()))])
    whole = (await usage(database, of(user))).entries
    pages = [(await usage(database, of(user, limit=2, offset=offset))).entries for offset in (0, 2, 4, 6)]
    assert [entry for page in pages for entry in page] == list(whole)
    assert [len(page) for page in pages] == [2, 2, 1, 0]


@pytest.mark.parametrize("kept", [2, 0])
async def test_a_refund_is_no_use(database, operations, spender, kept):
    user, asked = spender
    part = asked["part"].generation_id
    await operations.correct([completed(part, kept) if kept else failed(part)])
    entries = (await usage(database, of(user))).entries
    assert sum(entry.used for entry in entries) == (3 + kept) * CREDIT
    (corrected,) = [entry for entry in entries if entry.generation_id == part]
    assert (corrected.delivered, corrected.used) == (kept, kept * CREDIT), "what was paid for and is kept"


async def test_what_was_delivered_and_never_charged_was_not_paid_for(database, operations, spender):
    user, asked = spender
    part = asked["part"].generation_id
    await operations.correct([completed(part, 4)])
    (entry,) = [entry for entry in (await usage(database, of(user))).entries if entry.generation_id == part]
    assert (entry.delivered, entry.used) == (3, 3 * CREDIT)


async def test_what_was_consumed_stands_in_the_statement_and_adds_up(database, operations, spender):
    user, _ = spender
    page = await statement(database, StatementOf(user_id=user, limit=100))
    (consumed,) = [entry for entry in page.entries if entry.entry == "consumed"]
    assert (consumed.captured, consumed.why) == (2 * CREDIT, "a sticker")
    balance, _ = await operations.balance(user)
    assert balance.available + balance.held == sum(
        entry.granted - entry.captured + entry.refunded for entry in page.entries
    )


async def test_the_question_is_answered(service, broker, spender):
    user, _ = spender
    async with service():
        reply = await broker.connection.request(LEDGER_USAGE, of(user).model_dump_json().encode(), timeout=2)
    assert UsageReport.model_validate_json(reply.data).total == 5


async def test_a_balance_that_changed_is_told_once_for_a_batch(make_process, broker, streams, monkeypatch):
    monkeypatch.setattr("ledger.announcements.PAUSE_SECONDS", 3.0)  # all that follows may take a while
    changes = Changes(broker)
    operations = Ledger(make_process(), 10 * CREDIT, changes)
    user = uuid4()
    asked = [request(user) for _ in range(5)]
    await operations.hold([requested(each) for each in asked])
    await operations.settle([completed(each.generation_id) for each in asked[:4]])

    async def is_told() -> bool:
        return bool(await streams.subjects(CREDITS))

    await eventually(is_told)
    assert await streams.subjects(CREDITS) == [f"credits.changed.{user}"]
    said = Changed.decode(await last_on(broker, changed_subject(user), stream="CREDITS"))
    assert (said.data.available, said.data.held, said.data.used) == (5 * CREDIT, CREDIT, 4 * CREDIT)
    assert said.data.change == -5 * CREDIT


async def test_while_the_bus_is_away_nothing_is_told_and_nothing_waits(make_process, broker, streams):
    changes = Changes(broker)
    operations = Ledger(make_process(), 10 * CREDIT, changes)
    await broker.stop()
    asked = request(uuid4())
    await operations.hold([requested(asked)])
    await changes.stop()
    balance, _ = await operations.balance(asked.user_id)
    assert balance.held == CREDIT


async def test_frontends_read_whole_credits_and_what_they_went_into(database, spender):
    """Used is rounded up and remaining down; what was not delivered is no usage."""
    user, asked = spender
    async with database.statement() as connection:
        who = {"user": user}
        found = await connection.execute(text("SELECT * FROM user_ai_credits WHERE user_id = :user"), who)
        [have] = list(found)
        found = await connection.execute(
            text("SELECT * FROM ai_usage_logs WHERE user_id = :user ORDER BY credits_consumed, id"), who
        )
        logs = [(row.id, row.action_type, row.credits_consumed) for row in found]
    assert (have.used_credits, have.remaining_credits, have.total_credits) == (6, 4, 10)
    assert (have.last_purchase_date, have.subscription_tier) == (None, "free")
    generated = {(id_, consumed) for id_, action, consumed in logs if action == "image_generation"}
    assert generated == {(asked["part"].generation_id, 3), (asked["old"].generation_id, 1)}
    assert [(action, consumed) for _, action, consumed in logs if action != "image_generation"] == [("a sticker", 2)]


async def logged(database, user) -> list[tuple[str, int]]:
    """What a frontend's log of this user says, and that it adds up to what the user's row says is used."""
    async with database.statement() as connection:
        who = {"user": user}
        log = text("SELECT action_type, credits_consumed FROM ai_usage_logs WHERE user_id = :user ORDER BY 1, 2")
        rows = [(row.action_type, row.credits_consumed) for row in await connection.execute(log, who)]
        used = text("SELECT used_credits FROM user_ai_credits WHERE user_id = :user")
        assert sum(credits_ for _, credits_ in rows) == (await connection.execute(used, who)).scalar_one()
    return rows


@pytest.mark.parametrize(
    ("delivered", "log"), [(4, [("image_generation", 4), ("x", 1)]), (1, [("image_generation", 1), ("x", 1)])]
)
async def test_what_was_paid_before_is_logged_once(database, operations, delivered, log):
    user = uuid4()
    await operations.consume(ConsumeCredits(consumption_id=uuid4(), user_id=user, amount=5 * CREDIT, reason="x"))
    asked = request(user, count=4).model_copy(update={"prepaid": True})
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id, delivered)])
    assert await logged(database, user) == log


async def test_what_came_back_is_not_logged(database, operations):
    user = uuid4()
    await operations.consume(ConsumeCredits(consumption_id=uuid4(), user_id=user, amount=4 * CREDIT, reason="x"))
    asked = request(user, count=4).model_copy(update={"prepaid": True})
    await operations.hold([requested(asked)])
    await operations.settle([failed(asked.generation_id)])
    assert await logged(database, user) == []
    part, whole = request(user, count=4), request(user, count=2)
    await operations.hold([requested(part), requested(whole)])
    await operations.settle([completed(part.generation_id, 4), completed(whole.generation_id, 2)])
    await operations.correct([completed(part.generation_id, 1), failed(whole.generation_id)])
    assert await logged(database, user) == [("image_generation", 1)]


async def test_a_log_is_read_however_much_was_used(database, operations):
    user, much = uuid4(), 3 * 10**9 * CREDIT
    for _ in range(4):
        await operations.grant(GrantCredits(grant_id=uuid4(), user_id=user, amount=much))
    await operations.consume(ConsumeCredits(consumption_id=uuid4(), user_id=user, amount=much, reason="x"))
    async with database.statement() as connection:
        log = text("SELECT credits_consumed, metadata->>'credits' AS exact FROM ai_usage_logs WHERE user_id = :user")
        (row,) = await connection.execute(log, {"user": user})
    assert (row.credits_consumed, float(row.exact)) == (10**9, 3e9)

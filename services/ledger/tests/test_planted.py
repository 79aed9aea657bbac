"""Bugs that others shipped, planted here one by one: the check that is named must turn red, and be green without.

A suite that stays green whatever is broken is worth nothing. Where the ledger has two defences the plant takes both
away, or the second one would be what is tested. A race is given the milliseconds that it needs to be lost.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from contracts.facts import Funded, Request
from ledger import accounts, app, holds, operations, plans
from ledger.announcements import announce
from ledger.domain import holds as decisions
from ledger.domain.holds import State
from ledger.domain.transactions import Purse, Transaction
from ledger.operations import Ledger
from runtime.consumption import Consumers
from runtime.database import Database

from . import test_connected, test_double_entry, test_operations, test_payers, test_plans, test_races
from .books import contradictions
from .planted_payments import PAYMENT_BUGS, at_a_new_bank
from .planting import Bug, reworded
from .samples import CREDIT

pytestmark = pytest.mark.connected

RED = (AssertionError, SQLAlchemyError, TimeoutError, pytest.fail.Exception)

_ANY_KEY = "ALTER TABLE transactions DROP CONSTRAINT uq_transactions_key"
_ANY_BALANCE = """
    ALTER TABLE accounts DROP CONSTRAINT ck_accounts_available, DROP CONSTRAINT ck_accounts_held,
                         DROP CONSTRAINT ck_accounts_used
"""
_ANY_CAPTURE = "ALTER TABLE holds DROP CONSTRAINT ck_holds_captured"
_ANY_END = "DROP TRIGGER one_way ON holds"
_CLAIMED = text("SELECT user_id, amount FROM holds WHERE generation_id = ANY(CAST(:ids AS uuid[]))")
_ANY_SUM = "DROP TRIGGER balanced ON postings"


def every_move(patch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> None:
    """In each of the statements that move money."""
    reworded(patch, accounts, "_POST _POST_NEW", *changes)
    reworded(patch, holds, "_OPEN_USUAL _CLOSE_OPEN", *changes)


# -- balances -------------------------------------------------------------------------------------------------


def balances_are_read_and_then_written(patch: pytest.MonkeyPatch) -> None:
    every_move(
        patch,
        (
            "SELECT change.* FROM accounts JOIN change USING (user_id) ORDER BY user_id FOR UPDATE OF accounts",
            "SELECT change.*, accounts.available AS had, accounts.held AS had_held, accounts.used AS had_used,"
            " pg_sleep(0.05) FROM accounts JOIN change USING (user_id)",
        ),
        ("available = accounts.available +", "available = locked.had +"),
        ("held = accounts.held +", "held = locked.had_held +"),
        ("used = accounts.used +", "used = locked.had_used +"),
    )
    reworded(patch, accounts, "_BALANCES", ("FOR UPDATE OF accounts", ""))


def holds_are_not_counted_in_what_a_user_can_afford(patch: pytest.MonkeyPatch) -> None:
    reworded(patch, holds, "_OPEN_USUAL", ("available - debt >= together", "available - debt + held >= together"))
    reworded(patch, accounts, "_BALANCES", ("user_id, available,", "user_id, available + held AS available,"))


def a_batch_changes_an_account_by_one_of_its_transactions(patch: pytest.MonkeyPatch) -> None:
    every_move(
        patch,
        ("RETURNING user_id, purse, amount", "RETURNING transaction_id, user_id, purse, amount"),
        ("FROM posted GROUP BY user_id", "FROM posted GROUP BY user_id, transaction_id"),
        ("(SELECT count(*) FROM change) AS owed", "(SELECT count(*) FROM moved) AS owed"),
    )


def the_key_of_a_grant_is_looked_up_and_then_written(patch: pytest.MonkeyPatch) -> None:
    reworded(
        patch,
        accounts,
        "_POST_NEW",
        (
            "ON CONFLICT (key) DO NOTHING",
            "WHERE NOT EXISTS (SELECT FROM transactions WHERE key = new.key) AND pg_sleep(0.01) IS NOT NULL",
        ),
    )


def what_a_month_gives_has_no_name(patch: pytest.MonkeyPatch) -> None:
    """Every look gives it under another key, and nobody finds the one before."""
    named = plans.monthly_grant
    patch.setattr(plans, "monthly_grant", lambda *of: replace(named(*of), key=str(uuid4())))


def a_daily_cap_is_read_before_the_lock(patch: pytest.MonkeyPatch) -> None:
    lock, taken_today = accounts.lock, holds.taken_today
    before: dict[Any, Any] = {}

    async def hasty(connection: Any, users: Any) -> Any:
        before[id(connection)] = await taken_today(connection, users, [])
        return await lock(connection, users)

    async def as_it_was(connection: Any, users: Any, claimed: Any) -> Any:
        earlier = before.pop(id(connection), None)
        if earlier is None:
            return await taken_today(connection, users, claimed)
        now = await connection.execute(_CLAIMED, {"ids": list(claimed)})
        return {user: units - sum(row.amount for row in now if row.user_id == user) for user, units in earlier.items()}

    patch.setattr(accounts, "lock", hasty)
    patch.setattr(holds, "taken_today", as_it_was)


def nothing_but_the_schema(_: pytest.MonkeyPatch) -> None:
    """A rule of the database is missing."""


def amounts_are_floats(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        decisions,
        "cost",
        lambda quote, delivered, *_: int(min(float(quote.amount), float(quote.unit_price) * delivered)),
    )


# -- the end of a hold ----------------------------------------------------------------------------------------


def a_hold_is_closed_whether_it_is_open_or_not(patch: pytest.MonkeyPatch) -> None:
    """Two outcomes were both decided while it was."""
    reworded(patch, holds, "_CLOSE_OPEN", ("WHERE state = 'open'", "WHERE pg_sleep(0.01) IS NOT NULL"))


def a_hold_is_closed_without_a_lock(patch: pytest.MonkeyPatch) -> None:
    reworded(
        patch,
        holds,
        "_CLOSE_OPEN",
        ("SELECT generation_id, state FROM", "SELECT generation_id, state, pg_sleep(0.05) FROM"),
        ("FOR UPDATE\n    ), closed", "\n    ), closed"),
    )


def a_hold_can_be_captured_when_it_is(state: State) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        def decide(outcomes: Any, known: Any) -> decisions.Closings:
            forgetful = {
                id_: replace(hold, state=State.OPEN, outcome_id=None) if hold.state is state else hold
                for id_, hold in known.items()
            }
            return decisions.decide_closings(outcomes, forgetful)

        patch.setattr(operations, "decide_closings", decide)
        settlement = decisions.settlement
        patch.setattr(
            decisions,
            "settlement",
            lambda *of: replace(settlement(*of), key=str(uuid4()), postings=_from_what_is_available(settlement(*of))),
        )

    return plant


def _from_what_is_available(settled: Transaction) -> tuple[tuple[Purse, int], ...]:
    """Nothing is held any longer."""
    revenue = dict(settled.postings).get(Purse.REVENUE, 0)
    return ((Purse.AVAILABLE, -revenue), (Purse.REVENUE, revenue)) if revenue else settled.postings


def more_is_captured_than_was_quoted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decisions, "cost", lambda quote, delivered, *_: quote.unit_price * delivered)


def an_outcome_is_not_known_by_its_id(patch: pytest.MonkeyPatch) -> None:
    def decide(outcomes: Any, known: Any) -> decisions.Closings:
        strange = {id_: (hold.outcome_id and replace(hold, outcome_id=uuid4())) or hold for id_, hold in known.items()}
        return decisions.decide_closings(outcomes, strange)

    patch.setattr(operations, "decide_closings", decide)


def a_refund_is_made_whenever_it_is_asked_for(patch: pytest.MonkeyPatch) -> None:
    refund = decisions.refund
    list_correction = Ledger._list

    async def listed(*of: Any) -> bool:
        await list_correction(*of)
        return True

    patch.setattr(Ledger, "_list", listed)
    patch.setattr(decisions, "refund", lambda *of: replace(refund(*of), key=str(uuid4())))


# -- the order of committing, saying and acknowledging --------------------------------------------------------


def facts_are_acknowledged_before_they_are_committed(patch: pytest.MonkeyPatch) -> None:
    take = Consumers._take

    async def hasty(consumers: Consumers, loop: Any, taken: Any, decided: asyncio.Event) -> None:
        for held in taken:
            await consumers._answer(loop, held, b"+ACK")
        await take(consumers, loop, taken, decided)

    patch.setattr(Consumers, "_take", hasty)


def facts_are_said_before_they_are_committed(patch: pytest.MonkeyPatch) -> None:
    consume = app.consume_facts

    def consume_facts(consumers: Any, broker: Any, ledger: Any) -> None:
        hold = ledger.hold

        async def hasty(facts: Any) -> Any:
            await announce(broker, [Funded.of(fact.data, "ledger", fact.traceparent) for fact in facts])
            return await hold(facts)

        ledger.hold = hasty
        consume(consumers, broker, ledger)

    patch.setattr(app, "consume_facts", consume_facts)


# -- whose account it is ------------------------------------------------------------------------------------------


def the_account_is_always_the_users_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Request, "account_id", property(lambda request: request.user_id))


def holds_name_whoever_asked(patch: pytest.MonkeyPatch) -> None:
    asked = holds._asked
    patch.setattr(
        holds, "_asked", lambda requests: asked(requests) | {"users": [request.user_id for request in requests]}
    )


BUGS = {
    "a balance is read and then written": Bug(
        balances_are_read_and_then_written,
        test_operations.test_p7_fifty_requests_at_once_on_ten_credits_fund_exactly_ten,
    ),
    "holds are not counted in what a user can afford": Bug(
        holds_are_not_counted_in_what_a_user_can_afford,
        test_operations.test_p7_fifty_requests_at_once_on_ten_credits_fund_exactly_ten,
        (_ANY_BALANCE,),
    ),
    "a batch changes an account once": Bug(
        a_batch_changes_an_account_by_one_of_its_transactions,
        test_operations.test_two_users_interleaved_in_one_batch_are_each_charged_for_all_of_theirs,
    ),
    "a hold is captured twice": Bug(
        a_hold_is_closed_whether_it_is_open_or_not,
        test_operations.test_p4_an_outcome_said_twenty_times_is_charged_once,
        (_ANY_KEY, _ANY_BALANCE),
    ),
    "a hold is captured while it expires": Bug(
        a_hold_is_closed_without_a_lock,
        partial(
            test_races.test_promise_6_a_hold_that_ends_in_two_ways_at_once_ends_in_one, otherwise=test_races.expired
        ),
        (_ANY_KEY, _ANY_BALANCE, _ANY_END),
    ),
    "a released hold is captured": Bug(
        a_hold_can_be_captured_when_it_is(State.RELEASED),
        test_operations.test_promise_5_released_though_told_completed_is_written_off_and_never_captured,
        (_ANY_END,),
    ),
    "a declined hold is captured": Bug(
        a_hold_can_be_captured_when_it_is(State.DECLINED),
        test_operations.test_promise_6_what_was_declined_is_not_captured_whatever_is_said_later,
        (_ANY_END,),
    ),
    "more is captured than was quoted": Bug(
        more_is_captured_than_was_quoted,
        test_operations.test_p6_more_than_was_asked_for_costs_no_more_than_the_quote,
        (_ANY_CAPTURE,),
    ),
    "a refund is made twice": Bug(
        a_refund_is_made_whenever_it_is_asked_for,
        test_operations.test_promise_5_captured_though_told_otherwise_is_refunded_once,
        (_ANY_BALANCE,),
    ),
    "a grant is given twice": Bug(
        the_key_of_a_grant_is_looked_up_and_then_written,
        test_races.test_p10_a_grant_to_somebody_known_in_two_processes_at_once_is_given_once,
        (_ANY_KEY,),
    ),
    "a month is granted twice": Bug(
        what_a_month_gives_has_no_name,
        test_plans.test_a_month_is_granted_once_when_it_is_first_looked_at,
    ),
    "a daily cap is read before the lock": Bug(
        a_daily_cap_is_read_before_the_lock,
        test_plans.test_p7_a_daily_cap_is_not_passed_by_requests_at_the_same_moment,
    ),
    "a transaction is not balanced": Bug(
        nothing_but_the_schema,
        test_double_entry.test_p8_an_unbalanced_transaction_is_refused_at_commit,
        (_ANY_SUM,),
    ),
    "an outcome is not known by its id": Bug(
        an_outcome_is_not_known_by_its_id,
        test_operations.test_p4_an_outcome_said_twenty_times_is_charged_once,
    ),
    "an amount is a float": Bug(
        amounts_are_floats,
        test_operations.test_promise_10_an_amount_that_no_float_can_hold_is_counted_to_the_unit,
    ),
    "a request is acknowledged before it is held": Bug(
        facts_are_acknowledged_before_they_are_committed,
        test_connected.test_promise_2_a_process_that_dies_before_it_held_has_said_nothing_and_loses_nothing,
    ),
    "an outcome is acknowledged before it is settled": Bug(
        facts_are_acknowledged_before_they_are_committed,
        test_connected.test_promise_2_an_outcome_whose_process_died_before_it_settled_is_settled_by_the_next,
    ),
    "funded is said before the quote is held": Bug(
        facts_are_said_before_they_are_committed,
        test_connected.test_promise_2_a_process_that_dies_before_it_held_has_said_nothing_and_loses_nothing,
    ),
    "the user is charged for what another pays for": Bug(
        the_account_is_always_the_users_own, test_payers.test_whoever_pays_is_held_and_charged_and_the_user_is_not
    ),
    "a hold names its user where another's credits are held": Bug(
        holds_name_whoever_asked, test_payers.test_whoever_pays_is_held_and_charged_and_the_user_is_not
    ),
    "what holds for others is not counted in what a payer can afford": Bug(
        holds_are_not_counted_in_what_a_user_can_afford,
        test_payers.test_p7_users_of_one_payer_at_once_never_overdraw_it,
        (_ANY_BALANCE,),
    ),
    **PAYMENT_BUGS,
}


@pytest.fixture
async def database_url(make_database, make_template) -> str:
    """A database for each bug: what it breaks stays broken."""
    return make_database("planted", like=await make_template("ledger"))


@pytest.fixture
async def database(make_process) -> AsyncIterator[Database]:
    """Without the look into the books that follows a test: here it is a part of the check."""
    return make_process()


@pytest.mark.parametrize("name", BUGS)
async def test_a_planted_bug_turns_its_check_red(
    name, database, make_process, operations, service, broker, streams, monkeypatch, simulator_url
):
    bug = BUGS[name]
    given = {
        "database": database,
        "make_process": make_process,
        "operations": operations,
        "pair": (Ledger(make_process(), 100 * CREDIT), Ledger(make_process(), 100 * CREDIT)),
        "service": service,
        "broker": broker,
        "streams": streams,
        "monkeypatch": monkeypatch,
    }
    parameters = inspect.signature(bug.check).parameters

    async def check() -> None:
        async with at_a_new_bank(database, operations, simulator_url, parameters) as payment:
            known = given | payment
            await bug.check(**{name: known[name] for name in parameters if name in known})
        assert await contradictions(database) == {}

    await check()
    await streams.remove()
    await streams.create()
    with monkeypatch.context() as patch:
        bug.plant(patch)
        async with database.transaction() as connection:
            for change in bug.schema:
                await connection.execute(text(change))
        with pytest.raises(RED):
            await check()

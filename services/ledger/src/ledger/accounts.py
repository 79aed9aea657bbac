"""Balances and the one way in which money moves: every transaction passes through `post`."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from contracts.facts import Change
from ledger.domain.transactions import Transaction, starting_grant
from runtime.database import Connection, Row

# The transaction's key is what says that a month was granted. It is counted: to answer EXISTS for many accounts, the
# planner would read every transaction that there is.
MONTH_IS_DUE = """
    (monthly_grant > 0 AND (
        SELECT count(*) FROM transactions
        WHERE key = 'monthly_grant:' || accounts.user_id || ':' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')) = 0)
"""
_BALANCES = text(f"""
    SELECT user_id, available, debt, plan, daily_spend_cap, {MONTH_IS_DUE} AS due
    FROM accounts JOIN plans ON plans.name = accounts.plan WHERE user_id = ANY(CAST(:users AS uuid[]))
    ORDER BY user_id FOR UPDATE OF accounts
""")  # noqa: S608 - put together from constants
_OPEN = text("""
    INSERT INTO accounts (user_id) SELECT DISTINCT user_id FROM unnest(CAST(:users AS uuid[])) AS new (user_id)
    ORDER BY user_id ON CONFLICT (user_id) DO NOTHING RETURNING user_id
""")
# An UPDATE … FROM applies one row per account only: a batch's postings are added up first, and only those of
# transactions that are new. Locks are taken in the order of the accounts, so that two batches never wait in a circle.
# What these parts have in common is looked up in one value: a join of two of them is a loop in a loop, and a batch of
# 256 cost twice as much for each of its transactions as one of 64.
_MOVE = """
    made AS (
        INSERT INTO transactions (key, type, generation_id, reason)
        SELECT key, type, generation_id, reason
        FROM unnest(CAST(:keys AS text[]), CAST(:types AS text[]), CAST(:generations AS uuid[]),
                    CAST(:reasons AS text[])) AS new (key, type, generation_id, reason)
        {only}
        RETURNING id, key
    ), posted AS (
        INSERT INTO postings (transaction_id, purse, user_id, amount)
        SELECT CAST(ids ->> entry.key AS bigint), entry.purse, entry.user_id, entry.amount
        FROM (SELECT jsonb_object_agg(key, id) AS ids FROM made) AS new,
             unnest(CAST(:entry_keys AS text[]), CAST(:entry_purses AS text[]), CAST(:entry_users AS uuid[]),
                    CAST(:entry_amounts AS bigint[])) AS entry (key, purse, user_id, amount)
        WHERE ids ? entry.key
        RETURNING user_id, purse, amount
    ), change AS MATERIALIZED (
        SELECT user_id,
               coalesce(sum(amount) FILTER (WHERE purse = 'available'), 0)::bigint AS available,
               coalesce(sum(amount) FILTER (WHERE purse = 'held'), 0)::bigint AS held,
               coalesce(sum(amount) FILTER (WHERE purse IN ('revenue', 'writeoff', 'consumed')), 0)::bigint AS used,
               coalesce(-sum(amount) FILTER (WHERE purse = 'debt'), 0)::bigint AS debt
        FROM posted GROUP BY user_id
    ), locked AS MATERIALIZED (
        SELECT change.* FROM accounts JOIN change USING (user_id) ORDER BY user_id FOR UPDATE OF accounts
    ), moved AS (
        UPDATE accounts SET available = accounts.available + locked.available, held = accounts.held + locked.held,
                            used = accounts.used + locked.used, debt = accounts.debt + locked.debt,
                            changed_at = now()
        FROM locked WHERE accounts.user_id = locked.user_id
        RETURNING accounts.user_id, accounts.held, accounts.used,
                  greatest(accounts.available - accounts.debt, 0) AS available,
                  greatest(accounts.available - accounts.debt, 0) - greatest(
                      accounts.available - locked.available - accounts.debt + locked.debt, 0) AS change
    ), counts AS (
        SELECT (SELECT count(*) FROM made) AS made, (SELECT count(*) FROM change) AS owed,
               (SELECT count(*) FROM moved) AS moved, balances.*
        FROM (SELECT array_agg(user_id) AS users, array_agg(available) AS available, array_agg(held) AS held,
                     array_agg(used) AS used, array_agg(change) AS changes FROM moved) AS balances
    )
"""
BALANCES_AFTER = "users, available, held, used, changes"
"""Of `counts`: what `changes` reads."""


def moving(first: str = "", *, only: str = "", answer: str = "SELECT * FROM counts") -> TextClause:
    """A statement that posts the transactions of `movement`, after the CTEs of `first`.

    `only` may leave some transactions out; `counts` has how many were made, how many accounts are owed a change and how
    many got it.
    """
    return text(f"WITH {first and first + ','} {_MOVE.format(only=only)} {answer}")


_POST = moving()
_POST_NEW = moving(only="ON CONFLICT (key) DO NOTHING")


@dataclass(frozen=True, slots=True)
class Account:
    """What a user has available and owes, in units, and what the plan says.

    `is_due`: this month's credits were not given.
    """

    available: int
    debt: int
    plan: str
    daily_spend_cap: int | None
    is_due: bool

    @property
    def spendable(self) -> int:
        """What is left once the debt is paid."""
        return max(0, self.available - self.debt)


@dataclass(frozen=True, slots=True)
class Posted:
    """How many transactions were written, and the balances after them."""

    made: int = 0
    changes: tuple[Change, ...] = ()


async def lock(connection: Connection, users: Iterable[UUID]) -> dict[UUID, Account]:
    """The accounts, locked until the transaction ends. Strangers are left out."""
    found = await connection.execute(_BALANCES, {"users": list(set(users))})
    return {row.user_id: Account(row.available, row.debt, row.plan, row.daily_spend_cap, row.due) for row in found}


async def open_accounts(connection: Connection, users: Collection[UUID], grant: int) -> None:
    """Makes the accounts that are missing, each with its starting grant, in units."""
    opened = await connection.execute(_OPEN, {"users": list(users)})
    if grant:
        await post(connection, [starting_grant(row.user_id, grant) for row in opened])


async def post(connection: Connection, transactions: Sequence[Transaction], *, only_new: bool = False) -> Posted:
    """Writes transactions and changes the balances by them.

    Raises:
        sqlalchemy.exc.IntegrityError: one was posted before (`only_new` leaves it out instead), or a balance would
            become negative.
        RuntimeError: a user has no account. Nothing may be committed then.
    """
    if not transactions:
        return Posted()
    result = await connection.execute(_POST_NEW if only_new else _POST, movement(transactions))
    counts = result.one()
    if counts.moved != counts.owed:
        raise RuntimeError("a user has no account")
    return Posted(counts.made, changes(counts))


def changes(counts: Row) -> tuple[Change, ...]:
    """The balances that a statement made by `moving` left, where its answer has them."""
    if counts.users is None:
        return ()
    found = zip(counts.users, counts.available, counts.held, counts.used, counts.changes, strict=True)
    return tuple(
        Change(user_id=user_id, available=available, held=held, used=used, change=change)
        for user_id, available, held, used, change in found
    )


def movement(transactions: Sequence[Transaction]) -> dict[str, Any]:
    """The parameters of a statement made by `moving`."""
    entries = [
        (transaction.key, purse, transaction.user_id, amount)
        for transaction in transactions
        for purse, amount in transaction.postings
    ]
    keys, purses, users, amounts = zip(*entries, strict=True) if entries else ((), (), (), ())
    return {
        "keys": [transaction.key for transaction in transactions],
        "types": [transaction.type for transaction in transactions],
        "generations": [transaction.generation_id for transaction in transactions],
        "reasons": [transaction.reason for transaction in transactions],
        "entry_keys": keys,
        "entry_purses": purses,
        "entry_users": users,
        "entry_amounts": amounts,
    }


def by_user(amounts: Iterable[tuple[UUID, int]]) -> Counter[UUID]:
    """What belongs to one user, added up."""
    together: Counter[UUID] = Counter()
    for user_id, units in amounts:
        together[user_id] += units
    return together

"""The rows of holds: opened and closed under a lock on the id, in the order of the ids.

Opening inserts and closing inserts or locks, so whichever commits first is seen by the other.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from contracts.facts import Change, Outcome, Request
from contracts.money import Quote, TokenPrices
from ledger import accounts
from ledger.domain import transactions
from ledger.domain.holds import Hold, State
from ledger.domain.transactions import Transaction
from runtime.database import Connection, Row

_CLAIM = text("""
    INSERT INTO holds (generation_id, user_id, amount, unit_price, price_version, input_price, output_price, kind,
                       model, state)
    SELECT asked.*, 'open'
    FROM unnest(CAST(:ids AS uuid[]), CAST(:users AS uuid[]), CAST(:amounts AS bigint[]),
                CAST(:unit_prices AS bigint[]), CAST(:price_versions AS integer[]),
                CAST(:input_prices AS bigint[]), CAST(:output_prices AS bigint[]), CAST(:kinds AS text[]),
                CAST(:models AS text[]))
         AS asked (generation_id, user_id, amount, unit_price, price_version, input_price, output_price, kind, model)
    ORDER BY generation_id
    ON CONFLICT (generation_id) DO NOTHING
    RETURNING generation_id
""")
# One statement, the hot rows last: an account is locked for no round trip. All that a user asks for in it is opened, or
# nothing of it; a balance that was spent since the statement began violates the account's CHECK and undoes everything.
# Nothing is opened for whoever has a daily cap: what it leaves is counted under the account's lock. A debt is paid in a
# transaction of its own, soon; meanwhile nobody spends what it will take.
_OPEN_USUAL = accounts.moving(
    """
    asked AS (
        SELECT *, sum(amount) OVER (PARTITION BY user_id) AS together
        FROM unnest(CAST(:ids AS uuid[]), CAST(:users AS uuid[]), CAST(:amounts AS bigint[]),
                    CAST(:unit_prices AS bigint[]), CAST(:price_versions AS integer[]),
                    CAST(:input_prices AS bigint[]), CAST(:output_prices AS bigint[]), CAST(:kinds AS text[]),
                    CAST(:models AS text[]))
             AS asked (generation_id, user_id, amount, unit_price, price_version, input_price, output_price, kind,
                       model)
    ), opened AS (
        INSERT INTO holds (generation_id, user_id, amount, unit_price, price_version, input_price, output_price, kind,
                           model, state)
        SELECT generation_id, user_id, amount, unit_price, price_version, input_price, output_price, kind, model,
               'open'
        FROM asked JOIN accounts USING (user_id) JOIN plans ON plans.name = accounts.plan
        WHERE available - debt >= together AND daily_spend_cap IS NULL
        ORDER BY generation_id
        ON CONFLICT (generation_id) DO NOTHING
        RETURNING generation_id
    )
    """,
    only="WHERE generation_id = ANY(ARRAY(SELECT generation_id FROM opened))",
    answer=f"SELECT ARRAY(SELECT generation_id FROM opened) AS opened, {accounts.BALANCES_AFTER} FROM counts",  # noqa: S608
)
_SAID = text("""
    SELECT generation_id, state, declined_for, coalesce(corrections.told, holds.outcome)::text AS outcome
    FROM holds LEFT JOIN corrections USING (generation_id) WHERE generation_id = ANY(CAST(:ids AS uuid[]))
""")
_DECLINE = text("""
    UPDATE holds SET state = 'declined', declined_for = :reason, closed_at = now()
    WHERE generation_id = ANY(CAST(:ids AS uuid[]))
""")
# Without those that this transaction claimed and did not decide about yet. The day is that of the claims.
_TAKEN_TODAY = text("""
    SELECT holds.user_id,
           sum(CASE state WHEN 'open' THEN holds.amount ELSE captured END - coalesce(refunds.amount, 0))::bigint
               AS taken
    FROM date_trunc('day', now(), 'UTC') AS day, holds
        LEFT JOIN corrections AS refunds ON refunds.generation_id = holds.generation_id AND refunds.type = 'refund'
    WHERE holds.user_id = ANY(CAST(:users AS uuid[])) AND opened_at >= day AND opened_at < day + interval '1 day'
      AND NOT holds.generation_id = ANY(CAST(:claimed AS uuid[]))
    GROUP BY holds.user_id
""")
_FIND = """
    SELECT generation_id, user_id, amount, unit_price, price_version, input_price, output_price, state, captured,
        outcome_id, model
    FROM holds WHERE generation_id = ANY(CAST(:ids AS uuid[]))
"""
_LOOK = text(_FIND)
_LOCK = text(f"{_FIND} ORDER BY generation_id FOR UPDATE")
_INSERT_CLOSED = text("""
    INSERT INTO holds (generation_id, amount, unit_price, price_version, state, closed_at, outcome_id, outcome)
    SELECT generation_id, 0, 0, 0, state, now(), outcome_id, CAST(outcome AS json)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:outcome_ids AS uuid[]), CAST(:outcomes AS text[]))
         AS ended (generation_id, state, outcome_id, outcome)
    ORDER BY generation_id
    ON CONFLICT (generation_id) DO NOTHING
    RETURNING generation_id
""")
_CLOSE = text("""
    UPDATE holds SET state = ended.state, captured = ended.captured, closed_at = coalesce(closed_at, now()),
                     outcome_id = ended.outcome_id, outcome = CAST(ended.outcome AS json)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:captured AS bigint[]),
                CAST(:outcome_ids AS uuid[]), CAST(:outcomes AS text[]))
         AS ended (generation_id, state, captured, outcome_id, outcome)
    WHERE holds.generation_id = ended.generation_id
""")
# One statement: what somebody else closed since we looked is left out, with its transaction. The state is no condition
# on the table, which would be looked for in the index of all that is open.
_CLOSE_OPEN = accounts.moving(
    """
    locked_holds AS MATERIALIZED (
        SELECT generation_id, state FROM holds WHERE generation_id = ANY(CAST(:ids AS uuid[]))
        ORDER BY generation_id FOR UPDATE
    ), closed AS (
        UPDATE holds SET state = ended.state, captured = ended.captured, closed_at = now(),
                         outcome_id = ended.outcome_id, outcome = CAST(ended.outcome AS json)
        FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:captured AS bigint[]),
                    CAST(:outcome_ids AS uuid[]), CAST(:outcomes AS text[]))
             AS ended (generation_id, state, captured, outcome_id, outcome)
        WHERE holds.generation_id = ended.generation_id
          AND ended.generation_id = ANY(ARRAY(SELECT generation_id FROM locked_holds WHERE state = 'open'))
        RETURNING holds.generation_id
    )
    """,
    only="WHERE generation_id = ANY(ARRAY(SELECT generation_id FROM closed))",
    answer=f"SELECT ARRAY(SELECT generation_id FROM closed) AS closed, {accounts.BALANCES_AFTER} FROM counts",  # noqa: S608
)
_DISPUTE = text("""
    UPDATE holds SET disputed_at = now() WHERE generation_id = ANY(CAST(:ids AS uuid[])) AND disputed_at IS NULL
""")
_SETTLE_DISPUTE = text("""
    UPDATE holds SET disputed_at = NULL WHERE generation_id = ANY(CAST(:ids AS uuid[]))
""")
_CORRECT = text("""
    INSERT INTO corrections (generation_id, user_id, type, amount, applied, told)
    SELECT generation_id, user_id, :type, :amount, outcome, CAST(CAST(:told AS text) AS json)
    FROM holds WHERE generation_id = :id
    ON CONFLICT (generation_id) DO NOTHING
    RETURNING generation_id
""")


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of an id: its state, and the JSON of the outcome that its client was told, once it is recorded."""

    state: State
    outcome: str | None
    declined_for: str | None = None


async def claim(connection: Connection, requests: Collection[Request]) -> set[UUID]:
    """Opens a hold for every id that has no row yet, to be declined in the same transaction where money lacks.

    Waits for whoever is about to close one of the ids.
    """
    claimed = await connection.execute(_CLAIM, _asked(requests))
    return {row.generation_id for row in claimed}


async def open_usual(connection: Connection, requests: Sequence[Request]) -> tuple[set[UUID], tuple[Change, ...]]:
    """Opens holds and moves their amounts, in one statement that commits by itself; the ids, and the new balances.

    Left out is where that is not all there is to do: no account, too little in it, a daily cap, or a row for the id.

    Raises:
        sqlalchemy.exc.IntegrityError: somebody else spent credits meanwhile; nothing was opened.
    """
    held = [transactions.hold(request.generation_id, request.account_id, request.quote.amount) for request in requests]
    result = (await connection.execute(_OPEN_USUAL, {**accounts.movement(held), **_asked(requests)})).one()
    return set(result.opened), accounts.changes(result)


async def said(connection: Connection, generation_ids: Collection[UUID]) -> dict[UUID, Said]:
    rows = await connection.execute(_SAID, {"ids": list(generation_ids)})
    return {row.generation_id: Said(State(row.state), row.outcome, row.declined_for) for row in rows}


async def decline(connection: Connection, generation_ids: Collection[UUID], reason: str) -> None:
    await connection.execute(_DECLINE, {"ids": list(generation_ids), "reason": reason})


async def taken_today(connection: Connection, users: Collection[UUID], claimed: Collection[UUID]) -> dict[UUID, int]:
    """What holds of this day (UTC) took of each of these users and did not give back; their accounts are locked.
    Not counted: `claimed`."""
    rows = await connection.execute(_TAKEN_TODAY, {"users": list(users), "claimed": list(claimed)})
    return {row.user_id: row.taken for row in rows}


async def look(connection: Connection, generation_ids: Iterable[UUID]) -> dict[UUID, Hold]:
    """The holds that exist, as they are at this moment."""
    rows = await connection.execute(_LOOK, {"ids": list(set(generation_ids))})
    return {hold.generation_id: hold for hold in map(_hold, rows)}


async def lock(connection: Connection, generation_ids: Iterable[UUID]) -> dict[UUID, Hold]:
    """The holds that exist, locked until the transaction ends."""
    rows = await connection.execute(_LOCK, {"ids": list(set(generation_ids))})
    return {hold.generation_id: hold for hold in map(_hold, rows)}


async def insert_closed(connection: Connection, ended: Sequence[tuple[Hold, Outcome]]) -> bool:
    """Closes ids that have no row yet; whether all of them were still without one."""
    parameters = _ended(ended)
    del parameters["captured"]
    inserted = await connection.execute(_INSERT_CLOSED, parameters)
    return len(inserted.all()) == len(ended)


async def close(connection: Connection, ended: Sequence[tuple[Hold, Outcome]]) -> None:
    """Records how locked holds ended, and the outcome that ended them, verbatim."""
    await connection.execute(_CLOSE, _ended(ended))


async def close_open(
    connection: Connection, ended: Sequence[tuple[Hold, Outcome]], settlements: Sequence[Transaction]
) -> tuple[set[UUID], tuple[Change, ...]]:
    """Closes those that are open still and posts their settlements, in one statement that commits by itself.

    Returns the ids that it closed, and the new balances. The accounts exist: an open hold has one, and none is ever
    removed.
    """
    result = (await connection.execute(_CLOSE_OPEN, {**_ended(ended), **accounts.movement(settlements)})).one()
    return set(result.closed), accounts.changes(result)


async def dispute(connection: Connection, generation_ids: Collection[UUID]) -> None:
    """Remembers that these ids may have ended differently for their clients."""
    await connection.execute(_DISPUTE, {"ids": list(generation_ids)})


async def settle_dispute(connection: Connection, generation_ids: Collection[UUID]) -> None:
    await connection.execute(_SETTLE_DISPUTE, {"ids": list(generation_ids)})


async def correct(connection: Connection, correction: Transaction, amount: int, told: Outcome) -> bool:
    """Lists a correction; False where the id was corrected before."""
    listed = await connection.execute(
        _CORRECT,
        {"id": correction.generation_id, "type": correction.type, "amount": amount, "told": told.encode().decode()},
    )
    return listed.first() is not None


def _asked(requests: Collection[Request]) -> dict[str, Any]:
    return {
        "ids": [request.generation_id for request in requests],
        "users": [request.account_id for request in requests],
        "amounts": [request.quote.amount for request in requests],
        "unit_prices": [request.quote.unit_price for request in requests],
        "price_versions": [request.quote.price_version for request in requests],
        "input_prices": [tokens.input if (tokens := request.quote.tokens) else None for request in requests],
        "output_prices": [tokens.output if (tokens := request.quote.tokens) else None for request in requests],
        "kinds": [request.kind.value for request in requests],
        "models": [request.model for request in requests],
    }


def _ended(ended: Sequence[tuple[Hold, Outcome]]) -> dict[str, Any]:
    return {
        "ids": [hold.generation_id for hold, _ in ended],
        "states": [hold.state for hold, _ in ended],
        "captured": [hold.captured for hold, _ in ended],
        "outcome_ids": [outcome.id for _, outcome in ended],
        "outcomes": [outcome.encode().decode() for _, outcome in ended],
    }


def _hold(row: Row) -> Hold:
    # In the order of `_FIND`: a column by its name costs more than all the rest of this.
    id_, user_id, amount, unit_price, version, input_price, output_price, state, captured, outcome_id, model = row
    tokens = None if input_price is None else TokenPrices(input=input_price, output=output_price)
    quote = Quote(amount=amount, unit_price=unit_price, price_version=version, tokens=tokens)
    return Hold(id_, user_id, quote, State(state), captured, outcome_id, model)

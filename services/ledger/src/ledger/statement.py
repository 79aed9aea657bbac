"""A user's statement: what every generation, gift and payment did to their credits, and why, for people to read."""

import base64
from datetime import datetime, timedelta

from sqlalchemy import text

from contracts.facts import Outcome, Verdict
from contracts.statement import Statement, StatementEntry, StatementOf
from ledger.domain.holds import DAILY_CAP, INSUFFICIENT_CREDITS, State
from runtime.database import Database, Row

# Each part by its own index, so that a page costs the same however long the statement is.
_PAGE = text("""
    SELECT * FROM (
        (SELECT holds.opened_at AS at, 'hold:' || generation_id AS key, 'generation' AS entry, generation_id, state,
             holds.amount AS quote, captured, 0::bigint AS granted, corrections.type AS correction,
             corrections.amount AS corrected, coalesce(corrections.told, holds.outcome)::text AS outcome,
             declined_for AS reason
         FROM holds LEFT JOIN corrections USING (generation_id)
         WHERE holds.user_id = :user_id AND opened_at <= :at
             AND (opened_at, ('hold:' || generation_id) COLLATE "C") < (:at, CAST(:key AS text))
         ORDER BY opened_at DESC, generation_id DESC LIMIT :most)
        UNION ALL
        (SELECT created_at, key, type, NULL, NULL, 0, 0, -amount, NULL, NULL, NULL, reason
         FROM postings JOIN transactions ON transactions.id = transaction_id
         WHERE postings.user_id = :user_id AND purse IN ('issuance', 'promotion', 'payments') AND created_at <= :at
             AND (created_at, key) < (:at, CAST(:key AS text))
         ORDER BY created_at DESC, key DESC LIMIT :most)
        UNION ALL
        (SELECT consumed_at, 'consume:' || id, 'consumed', NULL, NULL, 0, amount - taken, 0, NULL, NULL, NULL, reason
         FROM consumptions
         WHERE user_id = :user_id AND consumed_at <= :at
             AND (consumed_at, ('consume:' || id) COLLATE "C") < (:at, CAST(:key AS text))
         ORDER BY consumed_at DESC, id DESC LIMIT :most)
    ) AS entries ORDER BY at DESC, key COLLATE "C" DESC LIMIT :most
""")
_NEWEST = (datetime.fromisoformat("9999-01-01T00:00:00+00:00"), "")
_SETTLED = {State.CAPTURED, State.RELEASED, State.EXPIRED}


async def statement(database: Database, question: StatementOf) -> Statement:
    """One page, newest first."""
    try:
        at, key = _NEWEST if question.cursor is None else _place(question.cursor)
    except ValueError:
        return Statement(entries=(), cursor=None, is_cursor_known=False)
    values = {"user_id": question.user_id, "at": at, "key": key, "most": question.limit + 1}
    async with database.statement() as connection:
        rows = (await connection.execute(_PAGE, values)).all()
    page = rows[: question.limit]
    cursor = _cursor(page[-1].at, page[-1].key) if len(rows) > len(page) else None
    return Statement(entries=tuple(map(_entry, page)), cursor=cursor)


def _entry(row: Row) -> StatementEntry:
    if row.entry == "consumed":
        return StatementEntry(at=row.at, entry="consumed", captured=row.captured, why=row.reason)
    if row.entry != "generation":
        return StatementEntry(at=row.at, entry=row.entry, granted=row.granted, why=row.reason or _GIVEN[row.entry])
    state = State(row.state)
    return StatementEntry(
        at=row.at,
        entry="generation",
        generation_id=row.generation_id,
        state=state.value,
        quote=row.quote,
        captured=row.captured,
        released=row.quote - row.captured if state in _SETTLED else 0,
        refunded=row.corrected if row.correction == "refund" else 0,
        why=_why(state, Outcome.decode(row.outcome.encode()) if row.outcome else None, row.correction, row.reason),
    )


_GIVEN = {
    "grant": "granted",
    "starting_grant": "a new user's credits",
    "payment": "paid",
    "payment_restored": "the dispute was won",
}
_DECLINED = {
    INSUFFICIENT_CREDITS: "There were not enough credits.",
    DAILY_CAP: "The day's limit left less than it costs.",
}
_CORRECTED = {
    "refund": " It was charged otherwise before, and was given back.",
    "write_off": " What it was charged too little stays with the house.",
}


def _why(state: State, outcome: Outcome | None, correction: str | None, declined_for: str | None) -> str:
    """In one or two sentences."""
    if state is State.OPEN:
        return "Held until it ends."
    if outcome is None:
        return _DECLINED[declined_for or INSUFFICIENT_CREDITS]
    failure = outcome.data.failure
    if outcome.data.verdict is Verdict.COMPLETED:
        said = f"Completed: {outcome.data.delivered} delivered."
    elif failure is not None:
        said = f"{outcome.data.verdict.value.capitalize()}: {failure.message}"
    else:
        said = f"{outcome.data.verdict.value.capitalize()}."
    return said + _CORRECTED.get(correction or "", "")


def _cursor(at: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{key}".encode()).decode()


def _place(cursor: str) -> tuple[datetime, str]:
    """Raises ValueError for a cursor that is not written as ours are."""
    at, _, key = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
    place = datetime.fromisoformat(at), key
    if place[0].utcoffset() != timedelta(0) or _cursor(*place) != cursor or "\0" in key:
        raise ValueError("not a cursor of ours")
    return place

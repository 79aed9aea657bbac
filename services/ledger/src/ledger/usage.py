"""What a user's credits went into: each generation, and what was consumed without one."""

from sqlalchemy import text

from contracts.facts import Outcome, Verdict
from contracts.usage import (
    UsageEntry,
    UsageOf,
    UsageReport,
    UsageTotal,
)
from runtime.database import Database, Row

# A hold for nobody is one whose outcome came first; one without a kind is older than the column.
_USED = """
    used AS (
        SELECT opened_at AS at, generation_id AS id, generation_id, kind, model, state,
               captured - CASE corrections.type WHEN 'refund' THEN corrections.amount ELSE 0 END AS used,
               (CASE corrections.type WHEN 'refund' THEN told ELSE outcome END)::text AS outcome, NULL AS reason
        FROM holds LEFT JOIN corrections USING (generation_id)
        WHERE holds.user_id = :user_id AND opened_at >= CAST(:since AS date)::timestamp AT TIME ZONE 'UTC'
          AND opened_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC'
        UNION ALL
        SELECT consumed_at, id, NULL, NULL, NULL, 'consumed', amount - taken, NULL, reason
        FROM consumptions
        WHERE user_id = :user_id AND consumed_at >= CAST(:since AS date)::timestamp AT TIME ZONE 'UTC'
          AND consumed_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC'
    )
"""
_PAGE = text(f"WITH {_USED} SELECT * FROM used ORDER BY at DESC, id DESC LIMIT :limit OFFSET :offset")  # noqa: S608
_TOTALS = text(f"""
    WITH {_USED}
    SELECT (at AT TIME ZONE 'UTC')::date AS day, kind, model, count(*) AS number, sum(used)::bigint AS used
    FROM used GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3
""")  # noqa: S608 - put together from constants


async def usage(database: Database, question: UsageOf) -> UsageReport:
    """One page, newest first, and the totals of all days that were asked about."""
    values = {"user_id": question.user_id, "since": question.since, "until": question.until}
    async with database.statement() as connection:
        totals = (await connection.execute(_TOTALS, values)).all()
        rows = await connection.execute(_PAGE, {**values, "limit": question.limit, "offset": question.offset})
    return UsageReport(
        entries=tuple(map(_entry, rows)),
        totals=tuple(
            UsageTotal(day=row.day, kind=row.kind, model=row.model, number=row.number, used=row.used) for row in totals
        ),
        total=sum(row.number for row in totals),
    )


def _entry(row: Row) -> UsageEntry:
    ending = Outcome.decode(row.outcome.encode()).data if row.outcome else None
    return UsageEntry(
        at=row.at,
        generation_id=row.generation_id,
        kind=row.kind,
        model=row.model,
        state=row.state,
        delivered=ending.delivered if ending is not None and ending.verdict is Verdict.COMPLETED else 0,
        used=row.used,
        reason=row.reason,
    )

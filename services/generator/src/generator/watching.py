"""What the generator tells whoever watches: the attempts at one generation, and how its providers do."""

import json

from sqlalchemy import text

from contracts.watching import (
    MAX_LISTED,
    MAX_MOMENTS,
    MAX_WATCHED_ROWS,
    Breaker,
    Course,
    CourseOf,
    FiguresOf,
    Moment,
    ProviderFigures,
    UnknownAttempt,
    WorkFigures,
)
from runtime.database import Database, Row

_ATTEMPTS = text("""
    SELECT state, provider, model, number, error::text AS error, created_at, ended_at FROM attempts
    WHERE generation_id = :id ORDER BY created_at, item, number LIMIT :most
""")
_OPEN = text("SELECT count(*) FROM (SELECT 1 FROM work WHERE state = 'open' LIMIT :most) AS found")
_PROVIDERS = text("""
    SELECT provider, count(*) FILTER (WHERE state = 'rendered') AS rendered,
        count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'unknown') AS unknown,
        count(*) FILTER (WHERE state IN ('intent', 'submitted')) AS running,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE state = 'rendered') AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE state = 'rendered') AS p95_seconds,
        coalesce(sum(provider_cost_micros), 0)::bigint AS cost_micros
    FROM (
        SELECT provider, state, provider_cost_micros, EXTRACT(EPOCH FROM ended_at - created_at)::float8 AS seconds
        FROM attempts WHERE created_at > now() - make_interval(mins => :minutes) LIMIT :most
    ) AS found GROUP BY provider ORDER BY provider
""")
_UNKNOWN = text("""
    SELECT attempts.id, attempts.generation_id, attempts.provider, attempts.model, attempts.created_at
    FROM (SELECT generation_id FROM work WHERE state = 'open' LIMIT :rows) AS found
    JOIN attempts ON attempts.generation_id = found.generation_id AND attempts.state = 'unknown'
    ORDER BY attempts.created_at LIMIT :most
""")
_BREAKERS = text("""
    SELECT provider, model, open_until FROM breakers WHERE open_until > now() ORDER BY provider, model LIMIT :most
""")


async def course(database: Database, question: CourseOf) -> Course:
    """Its attempts; nothing that a provider said of them but the code."""
    async with database.statement() as connection:
        rows = (await connection.execute(_ATTEMPTS, {"id": question.generation_id, "most": MAX_MOMENTS})).all()
    return Course(moments=tuple(map(_moment, rows)))


def _moment(row: Row) -> Moment:
    return Moment(
        step="attempt",
        at=row.created_at,
        ended_at=row.ended_at,
        state=row.state,
        provider=row.provider,
        model=row.model,
        number=row.number,
        code=json.loads(row.error).get("code") if row.error else None,
    )


async def figures(database: Database, question: FiguresOf) -> WorkFigures:
    """Over indexes, and over so many rows at most."""
    values = {"minutes": question.minutes, "most": MAX_WATCHED_ROWS}
    async with database.statement() as connection:
        open_work = (await connection.execute(_OPEN, {"most": MAX_WATCHED_ROWS})).scalar_one()
        providers = (await connection.execute(_PROVIDERS, values)).all()
        unknown = (await connection.execute(_UNKNOWN, {"rows": MAX_WATCHED_ROWS, "most": MAX_LISTED})).all()
        breakers = (await connection.execute(_BREAKERS, {"most": MAX_LISTED})).all()
    return WorkFigures(
        open_work=open_work,
        providers=tuple(ProviderFigures(**row) for row in providers),
        unknown=tuple(
            UnknownAttempt(
                id=row.id,
                generation_id=row.generation_id,
                provider=row.provider,
                model=row.model,
                began_at=row.created_at,
            )
            for row in unknown
        ),
        breakers=tuple(Breaker(**row) for row in breakers),
    )

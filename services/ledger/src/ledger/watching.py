"""What the ledger tells whoever watches: the hold of one generation, and how the books stand."""

from sqlalchemy import text

from contracts.watching import (
    MAX_LISTED,
    MAX_WATCHED_ROWS,
    BookFigures,
    Course,
    CourseOf,
    FiguresOf,
    Moment,
    OpenHold,
)
from runtime.database import Database

_HOLD = text("""
    SELECT amount, captured, state, opened_at, closed_at FROM holds
    WHERE generation_id = :id AND user_id IS NOT NULL
""")
_OPEN = text("""
    SELECT count(*) AS holds, coalesce(sum(amount), 0)::bigint AS units
    FROM (SELECT amount FROM holds WHERE state = 'open' LIMIT :most) AS found
""")
_OLDEST = text("SELECT generation_id, amount, opened_at FROM holds WHERE state = 'open' ORDER BY opened_at LIMIT :most")
# A capture posts what was paid to the house's own purses; the user's side of it is what left `held` for good.
_CAPTURED = text("""
    SELECT count(*) AS captures, coalesce(sum(captured), 0)::bigint AS units FROM (
        SELECT captured FROM transactions JOIN holds USING (generation_id)
        WHERE transactions.type = 'capture' AND created_at > now() - make_interval(mins => :minutes) LIMIT :most
    ) AS found
""")


async def course(database: Database, question: CourseOf) -> Course:
    """When the quote was held, and what became of it."""
    async with database.statement() as connection:
        row = (await connection.execute(_HOLD, {"id": question.generation_id})).one_or_none()
    if row is None:
        return Course()
    held = Moment(step="held", at=row.opened_at, state="open", units=row.amount)
    if row.closed_at is None:
        return Course(moments=(held,))
    settled = Moment(step="settled", at=row.closed_at, state=row.state, units=row.captured)
    return Course(moments=(settled,) if row.state == "declined" else (held, settled))


async def figures(database: Database, question: FiguresOf) -> BookFigures:
    """Over indexes, and over so many rows at most."""
    async with database.statement() as connection:
        found = (await connection.execute(_OPEN, {"most": MAX_WATCHED_ROWS})).one()
        oldest = (await connection.execute(_OLDEST, {"most": MAX_LISTED})).all()
        values = {"minutes": question.minutes, "most": MAX_WATCHED_ROWS}
        captured = (await connection.execute(_CAPTURED, values)).one()
    return BookFigures(
        open_holds=found.holds,
        open_units=found.units,
        oldest=tuple(
            OpenHold(generation_id=row.generation_id, units=row.amount, opened_at=row.opened_at) for row in oldest
        ),
        captured=captured.units,
        captures=captured.captures,
    )

"""What storage tells whoever watches one generation: when its assets were stored."""

from sqlalchemy import text

from contracts.watching import MAX_MOMENTS, Course, CourseOf, Moment
from runtime.database import Database

_ASSETS = text("""
    SELECT index, state, created_at FROM assets WHERE generation_id = :id ORDER BY index LIMIT :most
""")


async def course(database: Database, question: CourseOf) -> Course:
    """One moment for each asset: when its row was committed, which is before its bytes are written."""
    async with database.statement() as connection:
        rows = (await connection.execute(_ASSETS, {"id": question.generation_id, "most": MAX_MOMENTS})).all()
    return Course(
        moments=tuple(Moment(step="stored", at=row.created_at, state=row.state, number=row.index) for row in rows)
    )

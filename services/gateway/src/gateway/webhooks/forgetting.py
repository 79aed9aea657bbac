"""What was told is forgotten after a while, and so are the webhooks of single generations, which tell nothing more."""

from sqlalchemy import text

from runtime.database import Database

KEPT_DAYS = 30
"""After its end a delivery can be looked at, and sent again, for so long."""
ROWS = 500
"""At once."""

_FORGET_DELIVERIES = text("""
    DELETE FROM deliveries WHERE id IN (
        SELECT id FROM deliveries WHERE ended_at < now() - make_interval(days => :days)
        ORDER BY ended_at LIMIT :rows FOR UPDATE SKIP LOCKED
    ) RETURNING id
""")
# What a generation that has not ended will owe keeps its webhook, however old that is.
_FORGET_WEBHOOKS = text("""
    DELETE FROM webhooks WHERE id IN (
        SELECT w.id FROM webhooks w WHERE w.style <> 'standard' AND w.created_at < now() - make_interval(days => :days)
            AND NOT EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = w.id)
            AND NOT EXISTS (SELECT FROM generations g WHERE g.id = w.id AND g.outcome IS NULL)
        ORDER BY w.created_at LIMIT :rows FOR UPDATE SKIP LOCKED
    )
""")


async def forget_old(database: Database) -> None:
    """Some of it; the next round goes on.

    Webhooks have their turn once no old delivery is left: among many that have one still, those without would be looked
    for in all of them, in every round.
    """
    values = {"days": KEPT_DAYS, "rows": ROWS}
    async with database.statement() as connection:
        forgotten = (await connection.execute(_FORGET_DELIVERIES, values)).all()
    if len(forgotten) == ROWS:
        return
    async with database.statement() as connection:
        await connection.execute(_FORGET_WEBHOOKS, values)

"""instaveo's upkeep: old views are found by their hour, and the feed's scores are vacuumed early."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_instaveo_views_hour ON instaveo_views (hour)")
    # What changes is what everybody reads, the top of the feed. By default a fifth of all scores would have to change
    # first, and until then its pages would be looked up in the table, past all that is over.
    op.execute("""
        ALTER TABLE instaveo_scores
        SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.01)
    """)


def downgrade() -> None:
    op.execute(
        "ALTER TABLE instaveo_scores RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor)"
    )
    op.execute("DROP INDEX ix_instaveo_views_hour")

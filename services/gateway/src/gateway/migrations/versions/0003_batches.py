"""Generations that were asked for together, and those that their user deleted."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE generations ADD COLUMN batch_id uuid, ADD COLUMN batch_item smallint, ADD COLUMN deleted_at timestamptz"
    )
    op.execute("""
        CREATE INDEX ix_generations_of_batch ON generations (user_id, batch_id, batch_item) WHERE batch_id IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE generations DROP COLUMN batch_id, DROP COLUMN batch_item, DROP COLUMN deleted_at")

"""Which deleted generations storage was told of."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE generations ADD COLUMN media_deleted_at timestamptz")
    op.execute("""
        CREATE INDEX ix_generations_media_to_delete ON generations (deleted_at)
        WHERE deleted_at IS NOT NULL AND media_deleted_at IS NULL
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE generations DROP COLUMN media_deleted_at")

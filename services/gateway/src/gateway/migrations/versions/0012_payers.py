"""Whose account pays for a generation, where it is not its user's own."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("ALTER TABLE generations ADD COLUMN payer_id uuid")


def downgrade() -> None:
    op.execute("ALTER TABLE generations DROP COLUMN payer_id")

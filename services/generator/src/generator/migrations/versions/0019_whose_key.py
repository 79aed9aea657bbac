"""With whose key an attempt was made: its task is known to that account alone, whatever keys are set later."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE attempts ADD COLUMN own_key boolean")


def downgrade() -> None:
    op.execute("ALTER TABLE attempts DROP COLUMN own_key")

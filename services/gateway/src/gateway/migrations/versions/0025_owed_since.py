"""Since when a webhook is owed what it is told of now: who looks whether all was told can know it by that alone."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.execute("ALTER TABLE webhooks ADD COLUMN owed_since timestamptz NOT NULL DEFAULT now()")


def downgrade() -> None:
    op.execute("ALTER TABLE webhooks DROP COLUMN owed_since")

"""What a webhook was asked for with, so that another wish under the same Idempotency-Key is told from the same one."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("ALTER TABLE webhooks ADD asked_hash bytea")


def downgrade() -> None:
    op.execute("ALTER TABLE webhooks DROP asked_hash")

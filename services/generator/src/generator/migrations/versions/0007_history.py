"""A model's last tasks, by which it is estimated how long the next one takes."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
        CREATE INDEX ix_attempts_history ON attempts (model, ended_at) WHERE state = 'rendered' AND task IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("DROP INDEX ix_attempts_history")

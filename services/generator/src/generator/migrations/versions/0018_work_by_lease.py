"""Open work is found by when its lease ends: whoever looks for what is due reads nothing else of it."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute("DROP INDEX ix_work_open")
    op.execute("CREATE INDEX ix_work_open ON work (lease_until) WHERE state = 'open'")


def downgrade() -> None:
    op.execute("DROP INDEX ix_work_open")
    op.execute("CREATE INDEX ix_work_open ON work (generation_id) WHERE state = 'open'")

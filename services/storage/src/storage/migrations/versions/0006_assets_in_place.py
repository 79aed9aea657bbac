"""An asset whose bytes are stored is written in its place again: no index asks for its state.

A column of an index's condition is one of the index: while one was the state, each asset that became `stored` was a new
entry in all six of them. What is purged is in the trash no longer.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("UPDATE assets SET deleted_at = NULL WHERE state = 'purged' AND deleted_at IS NOT NULL")
    op.execute("DROP INDEX ix_assets_deleted_at")
    op.execute("CREATE INDEX ix_assets_deleted_at ON assets (deleted_at) WHERE deleted_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX ix_assets_deleted_at")
    op.execute("CREATE INDEX ix_assets_deleted_at ON assets (deleted_at) WHERE state = 'deleted'")

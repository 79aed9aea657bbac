"""What a request may be answered with instead of being carried out; only those that allow that have a key."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("ALTER TABLE work ADD COLUMN reuse_key bytea, ADD COLUMN reused uuid")
    op.execute("CREATE INDEX ix_work_reuse_key ON work (reuse_key, created_at) WHERE reuse_key IS NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE work DROP COLUMN reuse_key, DROP COLUMN reused")

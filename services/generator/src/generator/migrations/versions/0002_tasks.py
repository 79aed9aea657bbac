"""Tasks that a provider works on, followed from the row."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE attempts ADD COLUMN task text, ADD COLUMN model text")
    op.execute("CREATE INDEX ix_attempts_submitted ON attempts (generation_id) WHERE state = 'submitted'")


def downgrade() -> None:
    op.execute("DROP INDEX ix_attempts_submitted")
    op.execute("ALTER TABLE attempts DROP COLUMN task, DROP COLUMN model")

"""The attempts of the last minutes are found without reading all of them."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_attempts_created_at ON attempts USING brin (created_at)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_attempts_created_at")

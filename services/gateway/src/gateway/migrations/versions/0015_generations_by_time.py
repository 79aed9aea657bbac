"""What everybody asked for in the last minutes is found without reading all generations."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_generations_created_at ON generations USING brin (created_at)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_generations_created_at")

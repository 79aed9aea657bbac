"""How often each provider may be asked again."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE retry_budgets (
            provider text NOT NULL CONSTRAINT pk_retry_budgets PRIMARY KEY,
            retries_left double precision NOT NULL,
            counted_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE retry_budgets")

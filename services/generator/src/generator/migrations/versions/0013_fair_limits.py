"""Whose a place at a provider is, and who waits for one; and which breakers only a result closes."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("ALTER TABLE breakers ADD COLUMN by_tasks boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE permits ADD COLUMN user_id uuid")
    op.execute("""
        CREATE TABLE waiters (
            provider text NOT NULL CONSTRAINT fk_waiters_provider_limits REFERENCES limits ON DELETE CASCADE,
            lane text NOT NULL,
            user_id uuid NOT NULL,
            seen_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_waiters PRIMARY KEY (provider, lane, user_id)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE waiters")
    op.execute("ALTER TABLE permits DROP COLUMN user_id")
    op.execute("ALTER TABLE breakers DROP COLUMN by_tasks")

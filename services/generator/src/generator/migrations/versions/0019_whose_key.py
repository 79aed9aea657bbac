"""With whose key an attempt was made: its task is known to that account alone, whatever keys are set later."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE attempts ADD COLUMN own_key boolean NOT NULL DEFAULT false")
    op.execute("""
        UPDATE attempts SET own_key = true
        FROM work, user_keys
        WHERE attempts.state = 'submitted' AND work.generation_id = attempts.generation_id
            AND user_keys.user_id = CAST(work.request ->> 'user_id' AS uuid)
            AND user_keys.provider = attempts.provider AND user_keys.sealed IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE attempts DROP COLUMN own_key")

"""When a voice whose user is forgotten is deleted at its provider, or asked for again."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute("ALTER TABLE ai_voices ADD COLUMN forget_at timestamptz")
    op.execute("CREATE INDEX ix_ai_voices_forget_at ON ai_voices (forget_at) WHERE forget_at IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX ix_ai_voices_forget_at")
    op.execute("ALTER TABLE ai_voices DROP COLUMN forget_at")

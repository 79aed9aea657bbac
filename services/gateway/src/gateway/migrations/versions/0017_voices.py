"""Voices of users' own: made of a sample, after somebody said that its speaker consents."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE ai_voices
            ALTER COLUMN voice DROP NOT NULL, ALTER COLUMN preview DROP NOT NULL,
            ADD COLUMN user_id uuid, ADD COLUMN sample_id uuid, ADD COLUMN voice_provider text,
            ADD COLUMN consented_at timestamptz,
            ADD CONSTRAINT ck_ai_voices_own CHECK (
                CASE WHEN user_id IS NULL THEN voice IS NOT NULL AND preview IS NOT NULL
                    ELSE sample_id IS NOT NULL AND consented_at IS NOT NULL END)
    """)
    op.execute("CREATE INDEX ix_ai_voices_of_user ON ai_voices (user_id, created_at) WHERE user_id IS NOT NULL")


def downgrade() -> None:
    op.execute("DELETE FROM ai_voices WHERE user_id IS NOT NULL")
    op.execute("DROP INDEX ix_ai_voices_of_user")
    op.execute("""
        ALTER TABLE ai_voices DROP CONSTRAINT ck_ai_voices_own, DROP COLUMN user_id, DROP COLUMN sample_id,
            DROP COLUMN voice_provider, DROP COLUMN consented_at,
            ALTER COLUMN voice SET NOT NULL, ALTER COLUMN preview SET NOT NULL
    """)

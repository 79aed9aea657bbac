"""Users' own keys at providers, encrypted."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE user_keys (
            user_id uuid NOT NULL,
            provider text NOT NULL,
            sealed text,
            last4 text NOT NULL,
            set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_user_keys PRIMARY KEY (user_id, provider)
        )
    """)
    op.execute("CREATE INDEX ix_user_keys_set_at ON user_keys (set_at)")


def downgrade() -> None:
    op.execute("DROP TABLE user_keys")

"""People who sign in here, who else they are, and the sessions that their refresh tokens belong to."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE users (
            id uuid CONSTRAINT pk_users PRIMARY KEY,
            email text NOT NULL CONSTRAINT uq_users_email UNIQUE,
            password_hash text NOT NULL,
            profile jsonb NOT NULL DEFAULT '{}',
            email_confirmed_at timestamptz,
            email_verified_at timestamptz,
            last_sign_in_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE identities (
            issuer text NOT NULL,
            subject text NOT NULL,
            user_id uuid NOT NULL,
            email text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_identities PRIMARY KEY (issuer, subject)
        )
    """)
    op.execute("CREATE INDEX ix_identities_email ON identities (email)")
    op.execute("""
        CREATE TABLE sessions (
            id uuid CONSTRAINT pk_sessions PRIMARY KEY,
            issuer text NOT NULL,
            user_id uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            ended_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_sessions_of_user ON sessions (user_id, created_at DESC)")
    op.execute("""
        CREATE TABLE refresh_tokens (
            hash bytea CONSTRAINT pk_refresh_tokens PRIMARY KEY,
            session_id uuid NOT NULL
                CONSTRAINT fk_refresh_tokens_session_id_sessions REFERENCES sessions ON DELETE CASCADE,
            spent_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_refresh_tokens_of_session ON refresh_tokens (session_id)")


def downgrade() -> None:
    op.execute("DROP TABLE refresh_tokens, sessions, identities, users")

"""What the jaaz frontend keeps: canvases, chats, configurations, settings, files and logins of devices."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE canvases (
            user_id uuid NOT NULL,
            id text NOT NULL,
            name text NOT NULL,
            description text NOT NULL DEFAULT '',
            thumbnail text,
            elements jsonb NOT NULL DEFAULT '[]',
            app_state jsonb NOT NULL DEFAULT '{}',
            files jsonb NOT NULL DEFAULT '{}',
            version bigint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_canvases PRIMARY KEY (user_id, id)
        )
    """)
    op.execute("""
        CREATE TABLE chat_sessions (
            user_id uuid NOT NULL,
            id text NOT NULL,
            title text NOT NULL,
            canvas_id text,
            model text,
            provider text,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_chat_sessions PRIMARY KEY (user_id, id)
        )
    """)
    # What was said stands in the generation: a turn only says where it belongs.
    op.execute("""
        CREATE TABLE chat_turns (
            generation_id uuid CONSTRAINT pk_chat_turns PRIMARY KEY,
            user_id uuid NOT NULL,
            session_id text NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY,
            CONSTRAINT fk_chat_turns_session_chat_sessions FOREIGN KEY (user_id, session_id)
                REFERENCES chat_sessions (user_id, id) ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX ix_chat_turns_of_session ON chat_turns (user_id, session_id, number)")
    op.execute("""
        CREATE TABLE provider_configs (
            user_id uuid NOT NULL,
            provider text NOT NULL,
            models jsonb NOT NULL DEFAULT '{}',
            url text NOT NULL DEFAULT '',
            max_tokens integer,
            CONSTRAINT pk_provider_configs PRIMARY KEY (user_id, provider)
        )
    """)
    op.execute("""
        CREATE TABLE user_settings (
            user_id uuid CONSTRAINT pk_user_settings PRIMARY KEY,
            settings jsonb NOT NULL DEFAULT '{}',
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE uploaded_files (
            id uuid CONSTRAINT pk_uploaded_files PRIMARY KEY,
            user_id uuid NOT NULL,
            filename text NOT NULL,
            key text NOT NULL,
            mime_type text NOT NULL,
            size_bytes bigint NOT NULL,
            width integer,
            height integer,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_uploaded_files_of_user ON uploaded_files (user_id, created_at DESC, id DESC)")
    op.execute("""
        CREATE TABLE device_logins (
            secret_hash bytea CONSTRAINT pk_device_logins PRIMARY KEY,
            code_hash bytea NOT NULL CONSTRAINT uq_device_logins_code_hash UNIQUE,
            state text NOT NULL DEFAULT 'pending' CONSTRAINT ck_device_logins_state
                CHECK (state IN ('pending', 'approved', 'denied', 'delivered')),
            user_id uuid,
            profile jsonb,
            interval_seconds smallint NOT NULL,
            polled_at timestamptz,
            expires_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_device_logins_expired ON device_logins (expires_at)")


def downgrade() -> None:
    op.execute("""
        DROP TABLE device_logins, uploaded_files, user_settings, provider_configs, chat_turns, chat_sessions, canvases
    """)

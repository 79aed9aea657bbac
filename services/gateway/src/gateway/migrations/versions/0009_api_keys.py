"""Keys of programs, what they spent, and how much of each limit is used."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE api_keys (
            id uuid CONSTRAINT pk_api_keys PRIMARY KEY,
            user_id uuid NOT NULL,
            name text NOT NULL,
            prefix text NOT NULL,
            hash bytea NOT NULL CONSTRAINT uq_api_keys_hash UNIQUE,
            previous_hash bytea CONSTRAINT uq_api_keys_previous_hash UNIQUE,
            previous_until timestamptz,
            scopes text[] NOT NULL,
            requests_per_minute integer,
            units_per_day bigint,
            units_per_month bigint,
            expires_at timestamptz,
            last_used_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_api_keys_of_user ON api_keys (user_id, created_at)")
    op.execute("""
        CREATE TABLE api_key_spending (
            api_key_id uuid NOT NULL
                CONSTRAINT fk_api_key_spending_api_key_id_api_keys REFERENCES api_keys ON DELETE CASCADE,
            day date NOT NULL,
            units bigint NOT NULL,
            CONSTRAINT pk_api_key_spending PRIMARY KEY (api_key_id, day)
        )
    """)
    op.execute("ALTER TABLE generations ADD COLUMN api_key_id uuid")
    # A database that crashed forgets it: everybody begins with a full minute.
    op.execute("""
        CREATE UNLOGGED TABLE rates (
            name text CONSTRAINT pk_rates PRIMARY KEY,
            full_at timestamptz NOT NULL,
            granted integer NOT NULL
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE rates")
    op.execute("ALTER TABLE generations DROP COLUMN api_key_id")
    op.execute("DROP TABLE api_key_spending, api_keys")

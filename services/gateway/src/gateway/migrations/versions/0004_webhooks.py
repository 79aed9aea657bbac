"""Where users want to be told, and what was told them there."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE webhooks (
            id uuid CONSTRAINT pk_webhooks PRIMARY KEY,
            user_id uuid NOT NULL,
            url text NOT NULL,
            events text[] NOT NULL,
            state text NOT NULL DEFAULT 'active' CONSTRAINT ck_webhooks_state CHECK (state IN ('active', 'disabled')),
            why_disabled text,
            secret_version integer NOT NULL DEFAULT 1,
            previous_secret_until timestamptz,
            failing_since timestamptz,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_webhooks_of_user ON webhooks (user_id)")
    op.execute("""
        CREATE TABLE deliveries (
            id uuid CONSTRAINT pk_deliveries PRIMARY KEY,
            webhook_id uuid NOT NULL
                CONSTRAINT fk_deliveries_webhook_id_webhooks REFERENCES webhooks ON DELETE CASCADE,
            generation_id uuid,
            event text NOT NULL,
            state text NOT NULL DEFAULT 'pending'
                CONSTRAINT ck_deliveries_state CHECK (state IN ('pending', 'delivered', 'parked')),
            attempts smallint NOT NULL DEFAULT 0,
            next_at timestamptz NOT NULL DEFAULT now(),
            status smallint,
            error text,
            created_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_deliveries_due ON deliveries (next_at) WHERE state = 'pending'")
    op.execute("CREATE INDEX ix_deliveries_of_webhook ON deliveries (webhook_id, created_at DESC, id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE deliveries, webhooks")

"""Generations, the slots that make them fair, and the offers last heard."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE generations (
            id uuid CONSTRAINT pk_generations PRIMARY KEY,
            user_id uuid NOT NULL,
            dialect text NOT NULL,
            kind text NOT NULL,
            lane text NOT NULL,
            model text NOT NULL,
            prompt text NOT NULL,
            size text,
            count smallint NOT NULL CONSTRAINT ck_generations_count CHECK (count > 0),
            options jsonb NOT NULL,
            quote_amount bigint NOT NULL CONSTRAINT ck_generations_quote CHECK (quote_amount >= 0),
            unit_price bigint NOT NULL,
            price_version integer NOT NULL,
            status text NOT NULL CONSTRAINT ck_generations_status CHECK
                (status IN ('pending', 'processing', 'completed', 'failed', 'declined', 'cancelled')),
            published boolean NOT NULL,
            body_hash bytea NOT NULL,
            traceparent text,
            created_at timestamptz NOT NULL DEFAULT now(),
            deadline_at timestamptz NOT NULL,
            deadline_seconds integer NOT NULL,
            p99_seconds integer NOT NULL,
            next_drive_at timestamptz NOT NULL,
            drives smallint NOT NULL DEFAULT 0,
            cancel_asked_at timestamptz,
            funded_at timestamptz,
            rendered_at timestamptz,
            completed_at timestamptz,
            outcome jsonb,
            CONSTRAINT ck_generations_outcome CHECK ((outcome IS NULL) = (status IN ('pending', 'processing')))
        )
    """)
    op.execute("CREATE INDEX ix_generations_of_user ON generations (user_id, created_at DESC, id DESC)")
    op.execute("""
        CREATE INDEX ix_generations_due ON generations (next_drive_at)
        WHERE status IN ('pending', 'processing')
    """)
    op.execute("""
        CREATE INDEX ix_generations_waiting ON generations (user_id, lane, created_at)
        WHERE status = 'pending' AND NOT published
    """)
    op.execute("""
        CREATE TABLE slots (
            user_id uuid NOT NULL,
            lane text NOT NULL,
            taken integer NOT NULL CONSTRAINT ck_slots_taken CHECK (taken >= 0),
            waiting integer NOT NULL CONSTRAINT ck_slots_waiting CHECK (waiting >= 0),
            CONSTRAINT pk_slots PRIMARY KEY (user_id, lane)
        )
    """)
    op.execute("""
        CREATE TABLE offers (
            name text CONSTRAINT pk_offers PRIMARY KEY,
            document jsonb NOT NULL,
            heard_at timestamptz NOT NULL DEFAULT now()
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE offers, slots, generations")

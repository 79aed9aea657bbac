"""How much of a provider all processes together may use; nothing is limited until an operator says so."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE limits (
            provider text CONSTRAINT pk_limits PRIMARY KEY,
            max_running integer CONSTRAINT ck_limits_max_running CHECK (max_running > 0),
            per_minute integer CONSTRAINT ck_limits_per_minute CHECK (per_minute > 0),
            tokens double precision NOT NULL DEFAULT 0,
            filled_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE permits (
            provider text NOT NULL CONSTRAINT fk_permits_provider_limits REFERENCES limits ON DELETE CASCADE,
            number integer NOT NULL,
            generation_id uuid,
            taken_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_permits PRIMARY KEY (provider, number)
        )
    """)
    # As many permits as the limit says, whoever writes it.
    op.execute("""
        CREATE FUNCTION make_permits() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM permits WHERE provider = NEW.provider AND number > COALESCE(NEW.max_running, 0);
            INSERT INTO permits (provider, number)
            SELECT NEW.provider, number FROM generate_series(1, COALESCE(NEW.max_running, 0)) AS number
            ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OF max_running ON limits
        FOR EACH ROW EXECUTE FUNCTION make_permits()
    """)


def downgrade() -> None:
    op.execute("DROP TABLE permits")
    op.execute("DROP TABLE limits")
    op.execute("DROP FUNCTION make_permits")

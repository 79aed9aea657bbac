"""Since when a model has its policy for attempts whose end is unknown: earlier ones were repeated by another."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.execute("ALTER TABLE models ADD COLUMN policy_since timestamptz NOT NULL DEFAULT now()")
    op.execute("""
        CREATE FUNCTION date_policy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.policy_since := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER models_policy_changed BEFORE UPDATE OF unknown_policy ON models FOR EACH ROW
        WHEN (NEW.unknown_policy IS DISTINCT FROM OLD.unknown_policy) EXECUTE FUNCTION date_policy()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER models_policy_changed ON models")
    op.execute("DROP FUNCTION date_policy()")
    op.execute("ALTER TABLE models DROP COLUMN policy_since")

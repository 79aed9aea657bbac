"""Who may look at an asset, and what each of the ledger's plans keeps."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE assets
            ADD visibility text NOT NULL DEFAULT 'public'
                CONSTRAINT ck_assets_visibility CHECK (visibility IN ('public', 'owner'))
    """)
    op.execute("""
        CREATE TABLE plans (
            name text CONSTRAINT pk_plans PRIMARY KEY,
            retention_days integer CONSTRAINT ck_plans_retention_days CHECK (retention_days > 0),
            quota_bytes bigint CONSTRAINT ck_plans_quota_bytes CHECK (quota_bytes >= 0)
        )
    """)
    op.execute("ALTER TABLE owners ADD plan text, ADD plan_heard_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE owners DROP plan, DROP plan_heard_at")
    op.execute("DROP TABLE plans")
    op.execute("ALTER TABLE assets DROP visibility")

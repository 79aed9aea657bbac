"""Files that browsers may put into the bucket by themselves."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE offers (
            upload_id uuid CONSTRAINT pk_offers PRIMARY KEY,
            owner_id uuid NOT NULL,
            size_bytes bigint NOT NULL,
            expires_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_offers_expires_at ON offers (expires_at)")


def downgrade() -> None:
    op.execute("DROP TABLE offers")

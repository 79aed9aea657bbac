"""What plays, what was made exact, where the bytes are, and how long an owner's assets are kept."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE assets
            ADD seconds double precision,
            ADD bitrate bigint,
            ADD blurhash text,
            ADD provider_size text,
            ADD backend text,
            ADD deleted_at timestamptz,
            ALTER generation_id DROP NOT NULL,
            DROP CONSTRAINT ck_assets_state,
            ADD CONSTRAINT ck_assets_state CHECK (state IN ('writing', 'stored', 'deleted', 'purged'))
    """)
    op.execute("CREATE INDEX ix_assets_owner_id ON assets (owner_id)")
    # Rows come in the order of their time, so a summary of it finds the old ones and costs a writer nothing.
    op.execute("CREATE INDEX ix_assets_created_at ON assets USING brin (created_at)")
    op.execute("CREATE INDEX ix_assets_deleted_at ON assets (deleted_at) WHERE state = 'deleted'")
    op.execute("""
        CREATE TABLE owners (
            owner_id uuid CONSTRAINT pk_owners PRIMARY KEY,
            retention_days integer CONSTRAINT ck_owners_retention_days CHECK (retention_days > 0),
            quota_bytes bigint CONSTRAINT ck_owners_quota_bytes CHECK (quota_bytes >= 0),
            changed_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_owners_retention_days ON owners (retention_days) WHERE retention_days IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP TABLE owners")
    op.execute("DELETE FROM assets WHERE generation_id IS NULL OR state IN ('deleted', 'purged')")
    op.execute("DROP INDEX ix_assets_deleted_at, ix_assets_created_at, ix_assets_owner_id")
    op.execute("""
        ALTER TABLE assets
            DROP seconds, DROP bitrate, DROP blurhash, DROP provider_size, DROP backend, DROP deleted_at,
            ALTER generation_id SET NOT NULL,
            DROP CONSTRAINT ck_assets_state,
            ADD CONSTRAINT ck_assets_state CHECK (state IN ('writing', 'stored'))
    """)

"""Generations with their outcome, assets, variants, and objects that nothing names."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE generations (
            generation_id uuid CONSTRAINT pk_generations PRIMARY KEY,
            outcome jsonb,
            opened_at timestamptz NOT NULL DEFAULT now(),
            closed_at timestamptz
        )
    """)
    op.execute("CREATE INDEX ix_generations_open ON generations (generation_id) WHERE outcome IS NULL")
    # Room in the pages: a row is written as `writing` and becomes `stored` a moment later, and no index needs to know.
    op.execute("""
        CREATE TABLE assets (
            id uuid CONSTRAINT pk_assets PRIMARY KEY,
            generation_id uuid NOT NULL
                CONSTRAINT fk_assets_generation_id_generations REFERENCES generations (generation_id),
            index smallint NOT NULL,
            owner_id uuid NOT NULL,
            token text COLLATE "C" NOT NULL CONSTRAINT uq_assets_token UNIQUE,
            state text NOT NULL DEFAULT 'writing' CONSTRAINT ck_assets_state CHECK (state IN ('writing', 'stored')),
            mime_type text NOT NULL,
            size_bytes bigint NOT NULL,
            sha256 text COLLATE "C" NOT NULL,
            width integer,
            height integer,
            source_url text,
            created_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 90)
    """)
    op.execute("CREATE INDEX ix_assets_generation_id ON assets (generation_id)")
    op.execute("CREATE INDEX ix_assets_sha256 ON assets (sha256)")
    op.execute("""
        CREATE TABLE variants (
            asset_id uuid NOT NULL CONSTRAINT fk_variants_asset_id_assets REFERENCES assets (id) ON DELETE CASCADE,
            name text NOT NULL,
            state text NOT NULL DEFAULT 'writing' CONSTRAINT ck_variants_state CHECK (state IN ('writing', 'stored')),
            size_bytes bigint NOT NULL,
            sha256 text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_variants PRIMARY KEY (asset_id, name)
        )
    """)
    op.execute("CREATE INDEX ix_variants_sha256 ON variants (sha256)")
    op.execute("""
        CREATE TABLE orphans (
            name text COLLATE "C" CONSTRAINT pk_orphans PRIMARY KEY,
            since timestamptz NOT NULL DEFAULT now()
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE orphans, variants, assets, generations")

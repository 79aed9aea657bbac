"""The social frontend's pictures, found by owner, by prompt and by their own id, and the log of downloads."""

from alembic import op

revision = "0006"
down_revision = "0005"

_DELIVERED = "dialect = 'social' AND kind = 'image' AND status = 'completed' AND deleted_at IS NULL"


def upgrade() -> None:
    op.execute(f"""
        CREATE INDEX ix_generations_social_of_user ON generations (user_id, created_at DESC, id DESC)
        WHERE {_DELIVERED}
    """)
    # A prompt may be longer than what a B-tree takes.
    op.execute("CREATE INDEX ix_generations_social_prompt ON generations USING hash (prompt) WHERE dialect = 'social'")
    op.execute(f"""
        CREATE INDEX ix_generations_social_assets ON generations
            USING gin ((outcome->'data'->'assets') jsonb_path_ops)
        WHERE {_DELIVERED}
    """)
    op.execute("""
        CREATE TABLE image_downloads (
            id uuid DEFAULT gen_random_uuid() CONSTRAINT pk_image_downloads PRIMARY KEY,
            user_id uuid NOT NULL,
            generation_id uuid NOT NULL,
            asset_id uuid NOT NULL,
            downloaded_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_image_downloads_of_user ON image_downloads (user_id, downloaded_at DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE image_downloads")
    for index in ("assets", "prompt", "of_user"):
        op.execute(f"DROP INDEX ix_generations_social_{index}")

"""Webhooks that one request named, in the words of the API that it was made by: their id is the generation's."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE webhooks ADD COLUMN style text NOT NULL DEFAULT 'standard'
            CONSTRAINT ck_webhooks_style CHECK (style IN ('standard', 'fal', 'replicate'))
    """)
    op.execute("DROP INDEX ix_webhooks_of_user")
    op.execute("CREATE INDEX ix_webhooks_of_user ON webhooks (user_id) WHERE style = 'standard'")


def downgrade() -> None:
    op.execute("DELETE FROM webhooks WHERE style <> 'standard'")
    op.execute("DROP INDEX ix_webhooks_of_user")
    op.execute("CREATE INDEX ix_webhooks_of_user ON webhooks (user_id)")
    op.execute("ALTER TABLE webhooks DROP COLUMN style")

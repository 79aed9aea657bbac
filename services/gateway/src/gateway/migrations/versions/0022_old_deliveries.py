"""What was told long ago is found without reading all that was told."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL")
    op.execute("CREATE INDEX ix_webhooks_of_one_generation ON webhooks (created_at) WHERE style <> 'standard'")


def downgrade() -> None:
    op.execute("DROP INDEX ix_webhooks_of_one_generation")
    op.execute("DROP INDEX ix_deliveries_ended")

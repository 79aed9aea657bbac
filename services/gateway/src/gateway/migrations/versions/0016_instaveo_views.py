"""instaveo's views are found by their hour, so that old ones can be forgotten a few at a time."""

from alembic import op

revision = "0016"
down_revision = "0012"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_instaveo_views_hour ON instaveo_views (hour)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_instaveo_views_hour")

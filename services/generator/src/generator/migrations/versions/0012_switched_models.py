"""What a model was before an operator switched it off, so that switching it on brings back the same."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("ALTER TABLE models ADD COLUMN state_when_on text")


def downgrade() -> None:
    op.execute("ALTER TABLE models DROP COLUMN state_when_on")

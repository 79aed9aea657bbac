"""What an upload was before it was made anew, so that another file under its id is told from the same one again."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE assets ADD given_sha256 text")


def downgrade() -> None:
    op.execute("ALTER TABLE assets DROP given_sha256")

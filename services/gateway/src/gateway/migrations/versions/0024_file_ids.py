"""A file that was brought has an id that nobody can work out; files from before keep theirs, which stand in canvases."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.execute("ALTER TABLE uploaded_files ADD asked_id uuid, ADD upload_key text")
    op.execute("""
        CREATE UNIQUE INDEX uq_uploaded_files_asked_id ON uploaded_files (user_id, asked_id)
        WHERE asked_id IS NOT NULL
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE uploaded_files DROP asked_id, DROP upload_key")

"""Of a kind that nobody knows there is no model. Where there is one already it is left out when the catalog is read."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE models ADD CONSTRAINT ck_models_kind
            CHECK (kind IN ('image', 'video', 'speech', 'text')) NOT VALID
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE models DROP CONSTRAINT ck_models_kind")

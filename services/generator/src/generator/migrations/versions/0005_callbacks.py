"""The key of the addresses that providers may call, the same for all processes."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE catalog ADD COLUMN callback_key text NOT NULL
            DEFAULT gen_random_uuid()::text || gen_random_uuid()::text
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE catalog DROP COLUMN callback_key")

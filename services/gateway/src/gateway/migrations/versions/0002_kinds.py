"""What other kinds than images ask for, and prices per token."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE generations ADD COLUMN particulars jsonb, ADD COLUMN input_price bigint,
            ADD COLUMN output_price bigint
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE generations DROP COLUMN particulars, DROP COLUMN input_price, DROP COLUMN output_price
    """)

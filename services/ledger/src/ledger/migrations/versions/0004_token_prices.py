"""Prices per token, and on the hold what was promised for one."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE prices
            ADD COLUMN input_amount bigint NOT NULL DEFAULT 0
                CONSTRAINT ck_prices_input_amount CHECK (input_amount >= 0),
            DROP CONSTRAINT ck_prices_per,
            ADD CONSTRAINT ck_prices_per CHECK (per IN ('output', 'second', 'thousand_characters', 'million_tokens'))
    """)
    op.execute("""
        ALTER TABLE holds
            ADD COLUMN input_price bigint CONSTRAINT ck_holds_input_price CHECK (input_price >= 0),
            ADD COLUMN output_price bigint CONSTRAINT ck_holds_output_price CHECK (output_price >= 0),
            ADD CONSTRAINT ck_holds_token_prices CHECK ((input_price IS NULL) = (output_price IS NULL))
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE holds DROP COLUMN input_price, DROP COLUMN output_price")
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    op.execute("DELETE FROM prices WHERE per NOT IN ('output', 'second')")
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")
    op.execute("""
        ALTER TABLE prices DROP COLUMN input_amount, DROP CONSTRAINT ck_prices_per,
            ADD CONSTRAINT ck_prices_per CHECK (per IN ('output', 'second'))
    """)

"""Prices by size, quality and duration, and what the provider takes for the same."""

from alembic import op

revision = "0003"
down_revision = "0002"

_PROVIDER_COSTS_MICROS = {
    "seedream-3-0-t2i-250415": 30_000,
    "seedream-4-0-250828": 30_000,
    "seedream-4-5-251128": 40_000,
    "dall-e-3": 40_000,
    "dall-e-2": 20_000,
}
"""As published; an operator writes their own into the next version."""


def upgrade() -> None:
    op.execute("""
        ALTER TABLE prices
            ADD COLUMN size text NOT NULL DEFAULT '',
            ADD COLUMN quality text NOT NULL DEFAULT '',
            ADD COLUMN per text NOT NULL DEFAULT 'output'
                CONSTRAINT ck_prices_per CHECK (per IN ('output', 'second')),
            ADD COLUMN provider_cost_micros bigint
                CONSTRAINT ck_prices_provider_cost_micros CHECK (provider_cost_micros >= 0),
            DROP CONSTRAINT pk_prices,
            ADD CONSTRAINT pk_prices PRIMARY KEY (version, model, size, quality)
    """)
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    for model, micros in _PROVIDER_COSTS_MICROS.items():
        op.execute(f"UPDATE prices SET provider_cost_micros = {micros} WHERE model = '{model}' AND version = 1")  # noqa: S608
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")
    op.execute("""
        INSERT INTO prices (version, model, quality, amount, provider_cost_micros)
        VALUES (1, 'dall-e-3', 'hd', 20000, 80000)
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    op.execute("DELETE FROM prices WHERE size <> '' OR quality <> '' OR per <> 'output'")
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")
    op.execute("""
        ALTER TABLE prices DROP CONSTRAINT pk_prices,
            DROP COLUMN size, DROP COLUMN quality, DROP COLUMN per, DROP COLUMN provider_cost_micros,
            ADD CONSTRAINT pk_prices PRIMARY KEY (version, model)
    """)

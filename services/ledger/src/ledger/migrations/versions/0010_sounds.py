"""What the sound of a film costs: the same for every film."""

from alembic import op

revision = "0010"
down_revision = "0009"

_UNITS = 1_000
"""A tenth of a credit."""


def upgrade() -> None:
    op.execute(f"""
        INSERT INTO prices (version, model, amount, per, input_amount, provider_cost_micros)
        VALUES (1, 'darkroom-sound', {_UNITS}, 'output', 0, 0)
        ON CONFLICT DO NOTHING
    """)  # noqa: S608


def downgrade() -> None:
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    op.execute("DELETE FROM prices WHERE version = 1 AND model = 'darkroom-sound'")
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")

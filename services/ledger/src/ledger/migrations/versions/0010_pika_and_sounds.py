"""What a second of Pika costs, and what the sound of a film does: the same for every film."""

from alembic import op

revision = "0010"
down_revision = "0009"

_UNITS_PER_SECOND, _MICROS_PER_SECOND = 20_000, 40_000
_UNITS_PER_SOUND = 1_000
"""A tenth of a credit."""


def upgrade() -> None:
    op.execute(f"""
        INSERT INTO prices (version, model, amount, per, input_amount, provider_cost_micros)
        VALUES (1, 'pika-2.2', {_UNITS_PER_SECOND}, 'second', 0, {_MICROS_PER_SECOND}),
            (1, 'darkroom-sound', {_UNITS_PER_SOUND}, 'output', 0, 0)
        ON CONFLICT DO NOTHING
    """)  # noqa: S608


def downgrade() -> None:
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    op.execute("DELETE FROM prices WHERE version = 1 AND model IN ('pika-2.2', 'darkroom-sound')")
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")

"""What a film of still pictures and speech costs: each second of it, the speech included."""

from alembic import op

revision = "0009"
down_revision = "0008"

_UNITS_PER_SECOND = 2_000
_PROVIDER_COST_MICROS = 200
"""Of a second: the speech, at about 14 letters a second; the film itself is made here."""


def upgrade() -> None:
    op.execute(f"""
        INSERT INTO prices (version, model, amount, per, input_amount, provider_cost_micros)
        VALUES (1, 'darkroom-avatar', {_UNITS_PER_SECOND}, 'second', 0, {_PROVIDER_COST_MICROS})
        ON CONFLICT DO NOTHING
    """)  # noqa: S608


def downgrade() -> None:
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    op.execute("DELETE FROM prices WHERE version = 1 AND model = 'darkroom-avatar'")
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")

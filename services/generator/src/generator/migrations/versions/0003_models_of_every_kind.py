"""What a model of any kind can be asked for, and who does its work where it cannot."""

from alembic import op

revision = "0003"
down_revision = "0002"

_COLUMNS = (
    "successor text",
    "fallbacks text[] NOT NULL DEFAULT '{}'",
    "provider_sizes text[] NOT NULL DEFAULT '{}'",
    "seconds integer[] NOT NULL DEFAULT '{}'",
    "default_seconds integer",
    "ratios text[] NOT NULL DEFAULT '{}'",
    "inputs text[] NOT NULL DEFAULT '{}'",
    "voices text[] NOT NULL DEFAULT '{}'",
    "max_tokens integer",
)


def upgrade() -> None:
    op.execute(f"ALTER TABLE models {', '.join(f'ADD COLUMN {column}' for column in _COLUMNS)}")


def downgrade() -> None:
    names = [column.split()[0] for column in _COLUMNS]
    op.execute(f"ALTER TABLE models {', '.join(f'DROP COLUMN {name}' for name in names)}")

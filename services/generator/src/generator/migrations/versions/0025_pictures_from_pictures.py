"""OpenAI's models for pictures start from others, and keep to a mask: so their adapter has it, and nobody could ask."""

from alembic import op

revision = "0025"
down_revision = "0024"
_MODELS = "('gpt-image-2', 'gpt-image-1.5', 'gpt-image-1-mini', 'gpt-image-1')"


def upgrade() -> None:
    op.execute(f"UPDATE models SET inputs = ARRAY['image', 'mask'] WHERE id IN {_MODELS} AND inputs = '{{}}'")  # noqa: S608


def downgrade() -> None:
    op.execute(f"UPDATE models SET inputs = '{{}}' WHERE id IN {_MODELS}")  # noqa: S608

"""Two models that make films of pictures alone say so: what is asked of words alone is refused before it is sent."""

from alembic import op

revision = "0023"
down_revision = "0022"
_MODELS = "('seedance-1-0-lite-i2v', 'runway-gen-4-turbo')"


def upgrade() -> None:
    op.execute(f"UPDATE models SET needs = ARRAY['first_frame'] WHERE id IN {_MODELS}")  # noqa: S608


def downgrade() -> None:
    op.execute(f"UPDATE models SET needs = '{{}}' WHERE id IN {_MODELS}")  # noqa: S608

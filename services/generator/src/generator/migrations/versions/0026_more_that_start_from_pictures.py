"""So do Seedream 4 and later; and Google's films, and those of Sora's successor, begin with a picture."""

from alembic import op

revision = "0026"
down_revision = "0025"
_MODELS = {
    "'image'": "('seedream-4-0-250828', 'seedream-4-5-251128')",
    "'image', 'first_frame'": "('gemini-omni-1.1-flash', 'veo-3.1', 'sora-2')",
}


def upgrade() -> None:
    for inputs, models in _MODELS.items():
        op.execute(f"UPDATE models SET inputs = ARRAY[{inputs}] WHERE id IN {models} AND inputs = '{{}}'")  # noqa: S608


def downgrade() -> None:
    for models in _MODELS.values():
        op.execute(f"UPDATE models SET inputs = '{{}}' WHERE id IN {models}")  # noqa: S608

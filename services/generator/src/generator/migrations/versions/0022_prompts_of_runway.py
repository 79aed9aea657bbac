"""Runway takes prompts of 1000 letters, and longer ones were refused by it alone. What an operator has set stays."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute("""
        UPDATE models SET max_prompt_characters = 1000 WHERE provider = 'runway' AND max_prompt_characters = 2000
    """)


def downgrade() -> None:
    op.execute("""
        UPDATE models SET max_prompt_characters = 2000 WHERE provider = 'runway' AND max_prompt_characters = 1000
    """)

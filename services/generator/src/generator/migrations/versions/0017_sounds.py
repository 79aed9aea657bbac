"""The sound of a film: taken out of it here."""

from alembic import op

revision = "0017"
down_revision = "0015"


def upgrade() -> None:
    op.execute("""
        INSERT INTO models (id, position, kind, provider, provider_model, state, sizes, inputs, needs, max_count,
            max_per_submission, max_prompt_characters, deadline_seconds, p99_seconds, unknown_policy)
        VALUES ('darkroom-sound', 201, 'speech', 'darkroom', 'darkroom-sound', 'active', '{}', ARRAY['video'],
            ARRAY['video'], 1, 1, 4000, 600, 60, 'resubmit_once')
    """)


def downgrade() -> None:
    op.execute("DELETE FROM models WHERE id = 'darkroom-sound'")

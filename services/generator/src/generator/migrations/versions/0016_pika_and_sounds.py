"""Pika's films, through fal; and the sound of a film, taken out of it here."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute("""
        INSERT INTO models (id, position, kind, provider, provider_model, state, sizes, default_size, seconds,
            default_seconds, max_count, max_per_submission, max_prompt_characters, deadline_seconds, p99_seconds,
            unknown_policy)
        VALUES ('pika-2.2', 202, 'video', 'fal', 'fal-ai/pika/v2.2/text-to-video', 'active',
            ARRAY['1280x720', '720x1280'], '1280x720', ARRAY[5, 10], 5, 1, 1, 2000, 900, 300, 'fail')
    """)
    op.execute("""
        INSERT INTO models (id, position, kind, provider, provider_model, state, sizes, inputs, needs, max_count,
            max_per_submission, max_prompt_characters, deadline_seconds, p99_seconds, unknown_policy)
        VALUES ('darkroom-sound', 201, 'speech', 'darkroom', 'darkroom-sound', 'active', '{}', ARRAY['video'],
            ARRAY['video'], 1, 1, 4000, 600, 60, 'resubmit_once')
    """)


def downgrade() -> None:
    op.execute("DELETE FROM models WHERE id IN ('pika-2.2', 'darkroom-sound')")

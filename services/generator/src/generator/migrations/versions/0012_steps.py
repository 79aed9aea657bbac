"""Films that are made in steps: what an attempt makes for the one after it, and who speaks in which film."""

from alembic import op

revision = "0012"
down_revision = "0009"

_SIZES = "1080x1920 720x1280 1080x1080 1920x1080 1280x720"
_VOICE_MODELS = "gpt-4o-mini-tts tts-1 tts-1-hd eleven_multilingual_v2 eleven_flash_v2_5"
_LONGEST_SECONDS = 300


def upgrade() -> None:
    op.execute("ALTER TABLE attempts ADD COLUMN kind text")
    op.execute("""
        ALTER TABLE models ADD COLUMN voice_models text[] NOT NULL DEFAULT '{}',
            ADD COLUMN needs text[] NOT NULL DEFAULT '{}',
            ADD COLUMN follows_speech boolean NOT NULL DEFAULT false
    """)
    op.execute(f"""
        INSERT INTO models (id, position, kind, provider, provider_model, state, sizes, default_size, seconds, inputs,
            needs, voices, voice_models, follows_speech, max_count, max_per_submission, max_prompt_characters,
            deadline_seconds, p99_seconds, unknown_policy)
        SELECT 'darkroom-avatar', 200, 'video', 'darkroom', 'darkroom-avatar', 'active',
            string_to_array('{_SIZES}', ' '), '1080x1920', ARRAY[{_LONGEST_SECONDS}], ARRAY['image', 'audio'],
            ARRAY['image'], spoken.voices, string_to_array('{_VOICE_MODELS}', ' '), true, 1, 1, 4000, 1200, 180,
            'resubmit_once'
        FROM (
            SELECT array_agg(DISTINCT voice) AS voices FROM models, unnest(voices) AS voice
            WHERE id = ANY (string_to_array('{_VOICE_MODELS}', ' '))
        ) AS spoken
    """)  # noqa: S608


def downgrade() -> None:
    op.execute("DELETE FROM models WHERE id = 'darkroom-avatar'")
    op.execute("ALTER TABLE models DROP COLUMN voice_models, DROP COLUMN needs, DROP COLUMN follows_speech")
    op.execute("ALTER TABLE attempts DROP COLUMN kind")

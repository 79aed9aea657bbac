"""What the reelmate frontend keeps: campaigns, templates, avatars, voices, links, and how often what was looked at."""

from alembic import op

revision = "0011"
down_revision = "0010"

_STATES = "'draft', 'active', 'paused', 'completed', 'archived'"
_COUNTS = ("views", "plays", "completions", "downloads", "shares")
_SHIPPED = "550e8400-e29b-41d4-a716-44665544000"
"""What the frontend's wizard has built in: 1 to 4 are avatars, 5 to 8 voices."""


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE campaigns (
            id uuid DEFAULT gen_random_uuid() CONSTRAINT pk_campaigns PRIMARY KEY,
            user_id uuid NOT NULL,
            name text NOT NULL,
            description text,
            type text NOT NULL,
            status text NOT NULL DEFAULT 'draft' CONSTRAINT ck_campaigns_status CHECK (status IN ({_STATES})),
            platforms text[] NOT NULL DEFAULT '{{}}',
            video_format text,
            target_audience jsonb,
            budget numeric(14, 2),
            hashtags jsonb,
            call_to_action text,
            start_date timestamptz,
            end_date timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_campaigns_of_user ON campaigns (user_id, created_at DESC, id DESC)")
    # Without a user: ours, and everybody's.
    op.execute("""
        CREATE TABLE ai_avatars (
            id uuid DEFAULT gen_random_uuid() CONSTRAINT pk_ai_avatars PRIMARY KEY,
            user_id uuid,
            name text NOT NULL,
            description text,
            gender text,
            style text,
            preview text,
            asset_id uuid,
            asset_key text,
            thumbnail_key text,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT ck_ai_avatars_picture CHECK ((preview IS NULL) <> (asset_id IS NULL))
        )
    """)
    op.execute("CREATE INDEX ix_ai_avatars_of_user ON ai_avatars (user_id, created_at, id)")
    op.execute("""
        CREATE TABLE ai_voices (
            id uuid CONSTRAINT pk_ai_voices PRIMARY KEY,
            name text NOT NULL,
            description text,
            gender text,
            language text NOT NULL,
            voice text NOT NULL,
            preview text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE prompt_templates (
            id uuid DEFAULT gen_random_uuid() CONSTRAINT pk_prompt_templates PRIMARY KEY,
            user_id uuid,
            name text NOT NULL,
            description text,
            category text NOT NULL DEFAULT 'general',
            template text NOT NULL,
            variables text[] NOT NULL DEFAULT '{}',
            is_public boolean NOT NULL DEFAULT false,
            usage_count bigint NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX ix_prompt_templates_of_user ON prompt_templates (user_id, created_at DESC, id DESC)")
    op.execute("CREATE INDEX ix_prompt_templates_public ON prompt_templates (created_at DESC, id DESC) WHERE is_public")
    op.execute("""
        CREATE INDEX ix_generations_reelmate_of_user ON generations (user_id, created_at DESC, id DESC)
        WHERE dialect = 'reelmate'
    """)
    counts = ", ".join(f"{name} bigint NOT NULL DEFAULT 0" for name in _COUNTS)
    op.execute(f"""
        CREATE TABLE video_analytics (
            generation_id uuid NOT NULL,
            user_id uuid NOT NULL,
            day date NOT NULL,
            {counts},
            CONSTRAINT pk_video_analytics PRIMARY KEY (generation_id, day)
        )
    """)
    op.execute("CREATE INDEX ix_video_analytics_of_user ON video_analytics (user_id, day)")
    op.execute("""
        CREATE TABLE video_shares (
            token text CONSTRAINT pk_video_shares PRIMARY KEY,
            generation_id uuid NOT NULL CONSTRAINT uq_video_shares_generation_id UNIQUE,
            user_id uuid NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute(f"""
        INSERT INTO ai_avatars (id, name, description, gender, style, preview) VALUES
        ('{_SHIPPED}1', 'Coral', 'Warm and close, for stories.', 'female', 'friendly', 'avatar-1.jpg'),
        ('{_SHIPPED}2', 'Azure', 'Calm and clear, for products.', 'male', 'professional', 'avatar-2.jpg'),
        ('{_SHIPPED}3', 'Sage', 'Lively, for trends.', 'female', 'energetic', 'avatar-3.jpg'),
        ('{_SHIPPED}4', 'Lilac', 'Measured, for explanations.', 'male', 'serious', 'avatar-4.jpg')
    """)  # noqa: S608
    op.execute(f"""
        INSERT INTO ai_voices (id, name, description, gender, language, voice, preview) VALUES
        ('{_SHIPPED}5', 'Nova', 'Bright.', 'female', 'en', 'nova', 'voice-5.mp3'),
        ('{_SHIPPED}6', 'Echo', 'Even.', 'male', 'en', 'echo', 'voice-6.mp3'),
        ('{_SHIPPED}7', 'Shimmer', 'Light.', 'female', 'en', 'shimmer', 'voice-7.mp3'),
        ('{_SHIPPED}8', 'Onyx', 'Deep.', 'male', 'en', 'onyx', 'voice-8.mp3')
    """)  # noqa: S608
    op.execute("""
        INSERT INTO prompt_templates (name, description, category, template, variables, is_public) VALUES
        ('Product launch', 'Thirty seconds about something new.', 'product',
            'Meet {{product}}. It does one thing and does it well: {{benefit}}. {{custom_text}} Get yours today.',
            ARRAY['product', 'benefit', 'custom_text'], true),
        ('Customer story', 'What somebody says who uses it.', 'testimonial',
            'I had tried everything. Then I found {{product}}. {{custom_text}} I am not going back.',
            ARRAY['product', 'custom_text'], true),
        ('Three tips', 'Short advice that people save.', 'education',
            'Three things nobody tells you about {{topic}}. {{custom_text}} Save this for later.',
            ARRAY['topic', 'custom_text'], true)
    """)


def downgrade() -> None:
    op.execute("DROP INDEX ix_generations_reelmate_of_user")
    op.execute("""
        DROP TABLE video_shares, video_analytics, prompt_templates, ai_voices, ai_avatars, campaigns
    """)

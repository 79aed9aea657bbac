"""Models, work and attempts."""

from alembic import op

revision = "0001"
down_revision = None

_MODELS = """
    INSERT INTO models (id, position, kind, provider, provider_model, state, sizes, default_size, max_count,
        max_per_submission, max_prompt_characters, deadline_seconds, p99_seconds, unknown_policy)
    SELECT id, position, 'image', provider, id, state, string_to_array(sizes, ' '), default_size, 4,
        max_per_submission, max_prompt_characters, deadline_seconds, p99_seconds, unknown_policy
    FROM (VALUES
        ('seedream-3-0-t2i-250415', 1, 'modelark', 'active', '1024x1024', 1, 4000, 180, 30, 'resubmit_once',
            '1024x1024 512x512 1536x1024 1024x1536'),
        ('seedream-4-0-250828', 2, 'modelark', 'active', '2048x2048', 1, 4000, 300, 60, 'resubmit_once',
            '2048x2048 1024x1024 1280x720 720x1280 2304x1728 1728x2304 2560x1440 1440x2560 2496x1664 1664x2496 4096x4096'),
        ('seedream-4-5-251128', 3, 'modelark', 'active', '2048x2048', 1, 4000, 300, 60, 'resubmit_once',
            '2048x2048 2304x1728 1728x2304 2560x1440 1440x2560 2496x1664 1664x2496 4096x4096'),
        ('gpt-image-2', 4, 'openai', 'active', '1024x1024', 4, 32000, 480, 120, 'fail',
            '1024x1024 1536x1024 1024x1536 2048x2048 3840x2160 2160x3840'),
        ('gpt-image-1.5', 5, 'openai', 'active', '1024x1024', 4, 32000, 480, 120, 'fail',
            '1024x1024 1536x1024 1024x1536'),
        ('gpt-image-1-mini', 6, 'openai', 'active', '1024x1024', 4, 32000, 480, 120, 'resubmit_once',
            '1024x1024 1536x1024 1024x1536'),
        ('dall-e-3', 7, 'openai', 'legacy', '1024x1024', 1, 4000, 300, 60, 'fail',
            '1024x1024 1792x1024 1024x1792'),
        ('dall-e-2', 8, 'openai', 'legacy', '1024x1024', 4, 1000, 300, 60, 'resubmit_once',
            '1024x1024 512x512 256x256')
    ) AS seed (id, position, provider, state, default_size, max_per_submission, max_prompt_characters,
        deadline_seconds, p99_seconds, unknown_policy, sizes)
"""


def upgrade() -> None:
    op.execute("""
        CREATE TABLE models (
            id text CONSTRAINT pk_models PRIMARY KEY,
            position smallint NOT NULL,
            kind text NOT NULL,
            provider text NOT NULL,
            provider_model text NOT NULL,
            state text NOT NULL CONSTRAINT ck_models_state CHECK (state IN ('active', 'legacy', 'off')),
            sizes text[] NOT NULL,
            default_size text,
            max_count smallint NOT NULL,
            max_per_submission smallint NOT NULL,
            max_prompt_characters integer NOT NULL,
            deadline_seconds integer NOT NULL,
            p99_seconds integer NOT NULL,
            unknown_policy text NOT NULL
                CONSTRAINT ck_models_unknown_policy CHECK (unknown_policy IN ('fail', 'resubmit_once')),
            CONSTRAINT ck_models_counts CHECK (max_count > 0 AND max_per_submission > 0)
        )
    """)
    op.execute(_MODELS)
    op.execute("""
        CREATE TABLE catalog (
            version bigint CONSTRAINT pk_catalog PRIMARY KEY,
            offered text[] NOT NULL
        )
    """)
    op.execute("INSERT INTO catalog (version, offered) VALUES (1, '{}')")
    op.execute("""
        CREATE FUNCTION bump_catalog() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE catalog SET version = version + 1;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER models_changed AFTER INSERT OR UPDATE OR DELETE ON models
        FOR EACH STATEMENT EXECUTE FUNCTION bump_catalog()
    """)
    op.execute("""
        CREATE TABLE work (
            generation_id uuid CONSTRAINT pk_work PRIMARY KEY,
            state text NOT NULL CONSTRAINT ck_work_state CHECK (state IN ('open', 'rendered', 'closed')),
            request jsonb,
            deadline_at timestamptz,
            traceparent text,
            lease_process uuid,
            fence integer NOT NULL,
            lease_until timestamptz NOT NULL DEFAULT now(),
            not_before timestamptz NOT NULL DEFAULT now(),
            outcome jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT ck_work_request CHECK (state = 'closed' OR request IS NOT NULL),
            CONSTRAINT ck_work_outcome CHECK ((state = 'closed') = (outcome IS NOT NULL))
        )
    """)
    op.execute("CREATE INDEX ix_work_open ON work (generation_id) WHERE state = 'open'")
    op.execute("""
        CREATE TABLE attempts (
            id uuid CONSTRAINT pk_attempts PRIMARY KEY,
            generation_id uuid NOT NULL CONSTRAINT fk_attempts_generation_id_work REFERENCES work,
            item smallint NOT NULL,
            number smallint NOT NULL,
            first_index smallint NOT NULL,
            count smallint NOT NULL,
            state text NOT NULL CONSTRAINT ck_attempts_state
                CHECK (state IN ('intent', 'submitted', 'rendered', 'failed', 'unknown')),
            provider text NOT NULL,
            process uuid NOT NULL,
            fence integer NOT NULL,
            result jsonb,
            error jsonb,
            provider_cost_micros bigint,
            created_at timestamptz NOT NULL DEFAULT now(),
            ended_at timestamptz,
            CONSTRAINT uq_attempts_number UNIQUE (generation_id, item, number)
        )
    """)

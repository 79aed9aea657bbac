"""Turns of a chat in which a model may draw: what each step of one is, and what became of it."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE agent_turns (
            generation_id uuid CONSTRAINT pk_agent_turns PRIMARY KEY
                CONSTRAINT fk_agent_turns_generation_id_chat_turns REFERENCES chat_turns ON DELETE CASCADE,
            user_id uuid NOT NULL,
            session_id text NOT NULL,
            canvas_id text NOT NULL,
            state text NOT NULL DEFAULT 'open' CONSTRAINT ck_agent_turns_state
                CHECK (state IN ('open', 'stopping', 'done')),
            api_key_id uuid,
            next_look_at timestamptz NOT NULL,
            give_up_at timestamptz NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_agent_turns_open ON agent_turns (next_look_at) WHERE state <> 'done'")
    op.execute("CREATE INDEX ix_agent_turns_running ON agent_turns (user_id, session_id) WHERE state <> 'done'")
    # A step is a generation, or why there is none: never both.
    op.execute("""
        CREATE TABLE agent_steps (
            id uuid CONSTRAINT pk_agent_steps PRIMARY KEY,
            turn_id uuid NOT NULL CONSTRAINT fk_agent_steps_turn_id_agent_turns REFERENCES agent_turns ON DELETE CASCADE,
            round smallint NOT NULL,
            call smallint,
            refusal jsonb,
            is_told boolean NOT NULL DEFAULT false
        )
    """)
    op.execute("CREATE INDEX ix_agent_steps_of_turn ON agent_steps (turn_id)")


def downgrade() -> None:
    op.execute("DROP TABLE agent_steps, agent_turns")

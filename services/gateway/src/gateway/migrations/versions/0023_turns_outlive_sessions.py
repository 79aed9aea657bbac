"""A turn that draws outlives the deletion of its session, so that what was paid lands; and says where it did."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("ALTER TABLE agent_turns DROP CONSTRAINT fk_agent_turns_generation_id_chat_turns")
    op.execute("ALTER TABLE agent_steps ADD is_placed boolean NOT NULL DEFAULT true")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_steps DROP is_placed")
    op.execute("DELETE FROM agent_turns WHERE generation_id NOT IN (SELECT generation_id FROM chat_turns)")
    op.execute("""
        ALTER TABLE agent_turns ADD CONSTRAINT fk_agent_turns_generation_id_chat_turns
            FOREIGN KEY (generation_id) REFERENCES chat_turns ON DELETE CASCADE
    """)

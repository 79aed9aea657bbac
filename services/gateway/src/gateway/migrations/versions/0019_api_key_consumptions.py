"""What capped keys consumed under an Idempotency-Key, so that it is counted once."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE api_key_consumptions (
            api_key_id uuid NOT NULL
                CONSTRAINT fk_api_key_consumptions_api_key_id_api_keys REFERENCES api_keys ON DELETE CASCADE,
            id uuid NOT NULL,
            CONSTRAINT pk_api_key_consumptions PRIMARY KEY (api_key_id, id)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE api_key_consumptions")

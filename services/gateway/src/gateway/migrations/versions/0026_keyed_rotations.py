"""As what a key or a secret was changed last: under the same Idempotency-Key it is not changed once more."""

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD rotated_as uuid")
    op.execute("ALTER TABLE webhooks ADD rotated_as uuid")


def downgrade() -> None:
    op.execute("ALTER TABLE webhooks DROP rotated_as")
    op.execute("ALTER TABLE api_keys DROP rotated_as")

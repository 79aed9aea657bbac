"""What triggers do is done in the service's own schema, whoever writes: an administrator's search path is another."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("ALTER FUNCTION require_balance() SET search_path FROM CURRENT")


def downgrade() -> None:
    op.execute("ALTER FUNCTION require_balance() RESET search_path")

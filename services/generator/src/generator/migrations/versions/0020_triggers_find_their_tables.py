"""What triggers do is done in the service's own schema, whoever writes: an administrator's search path is another."""

from alembic import op

revision = "0020"
down_revision = "0019"

_FUNCTIONS = ("bump_catalog", "make_permits")


def upgrade() -> None:
    for name in _FUNCTIONS:
        op.execute(f"ALTER FUNCTION {name}() SET search_path FROM CURRENT")


def downgrade() -> None:
    for name in _FUNCTIONS:
        op.execute(f"ALTER FUNCTION {name}() RESET search_path")

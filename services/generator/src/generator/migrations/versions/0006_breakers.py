"""Providers' models that are left alone for a while."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE breakers (
            provider text NOT NULL,
            model text NOT NULL,
            open_until timestamptz NOT NULL,
            CONSTRAINT pk_breakers PRIMARY KEY (provider, model)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE breakers")

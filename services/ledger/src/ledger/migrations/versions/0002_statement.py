"""What a user's statement is read by."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_holds_of_user ON holds (user_id, opened_at DESC, generation_id DESC)")
    # Only gifts touch these purses, so the index has a row for each of them and none for a generation.
    op.execute("""
        CREATE INDEX ix_postings_given ON postings (user_id, transaction_id) WHERE purse IN ('issuance', 'promotion')
    """)


def downgrade() -> None:
    op.execute("DROP INDEX ix_postings_given, ix_holds_of_user")

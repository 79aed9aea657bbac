"""`user_ai_credits` says what may be spent: not what will pay a debt within the next minute."""

from alembic import op

revision = "0013"
down_revision = "0012"

# Whoever replaces a view replaces its options: without this one, all users' rows would be seen until the views are made.
_VIEW = """
    CREATE OR REPLACE VIEW user_ai_credits WITH (security_invoker = true) AS
    SELECT user_id, used_credits + remaining_credits AS total_credits, used_credits, remaining_credits,
        last_purchase_date, subscription_tier
    FROM (
        SELECT user_id,
            least(ceil((used + held) / 10000.0), 1000000000)::integer AS used_credits,
            least(floor({available} / 10000.0), 1000000000)::integer AS remaining_credits,
            (SELECT max(paid_at) AT TIME ZONE 'UTC' FROM payments WHERE payments.user_id = accounts.user_id)
                AS last_purchase_date,
            plan AS subscription_tier
        FROM accounts
    ) AS whole
"""


def upgrade() -> None:
    op.execute(_VIEW.format(available="greatest(available - debt, 0)"))


def downgrade() -> None:
    op.execute(_VIEW.format(available="available"))

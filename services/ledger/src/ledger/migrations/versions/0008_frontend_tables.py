"""What frontends read as tables of whole credits: `user_ai_credits` and `ai_usage_logs`.

Whole credits: what is used or held is rounded up, what remains is rounded down, and the total is their sum.
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE VIEW user_ai_credits AS
        SELECT user_id, used_credits + remaining_credits AS total_credits, used_credits, remaining_credits,
            last_purchase_date, subscription_tier
        FROM (
            SELECT user_id,
                least(ceil((used + held) / 10000.0), 1000000000)::integer AS used_credits,
                least(floor(available / 10000.0), 1000000000)::integer AS remaining_credits,
                (SELECT max(paid_at) AT TIME ZONE 'UTC' FROM payments WHERE payments.user_id = accounts.user_id)
                    AS last_purchase_date,
                plan AS subscription_tier
            FROM accounts
        ) AS whole
    """)
    op.execute("""
        CREATE VIEW ai_usage_logs AS
        SELECT generation_id AS id, holds.user_id, left(kind || '_generation', 50) AS action_type,
            ceil(captured / 10000.0)::integer AS credits_consumed,
            jsonb_build_object('model', model, 'credits', captured / 10000.0) AS metadata,
            closed_at AT TIME ZONE 'UTC' AS created_at
        FROM holds LEFT JOIN corrections USING (generation_id)
        WHERE state = 'captured' AND holds.user_id IS NOT NULL AND corrections.type IS DISTINCT FROM 'refund'
        UNION ALL
        SELECT id, user_id, left(reason, 50), ceil(amount / 10000.0)::integer,
            jsonb_build_object('credits', amount / 10000.0), consumed_at AT TIME ZONE 'UTC'
        FROM consumptions
    """)


def downgrade() -> None:
    op.execute("DROP VIEW ai_usage_logs, user_ai_credits")

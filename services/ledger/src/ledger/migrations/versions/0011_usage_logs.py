"""`ai_usage_logs` says what was used: each credit once, nothing of what came back, and however much it was."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # What a consumption paid for stands in that generation's row. A generation that was free is one all the same.
    op.execute("""
        CREATE OR REPLACE VIEW ai_usage_logs AS
        SELECT id, user_id, action_type, least(ceil(used / 10000.0), 1000000000)::integer AS credits_consumed,
            details || jsonb_build_object('credits', used / 10000.0) AS metadata, created_at
        FROM (
            SELECT generation_id AS id, holds.user_id, left(kind || '_generation', 50) AS action_type,
                captured - coalesce(refunds.amount, 0) AS used, jsonb_build_object('model', model) AS details,
                closed_at AT TIME ZONE 'UTC' AS created_at
            FROM holds LEFT JOIN (SELECT * FROM corrections WHERE type = 'refund') AS refunds USING (generation_id)
            WHERE state = 'captured' AND holds.user_id IS NOT NULL
                AND (refunds.amount IS NULL OR refunds.amount < captured)
            UNION ALL
            SELECT id, user_id, left(reason, 50), amount - taken, '{}'::jsonb, consumed_at AT TIME ZONE 'UTC'
            FROM consumptions
            WHERE taken < amount
        ) AS whole
    """)


def downgrade() -> None:
    op.execute("""
        CREATE OR REPLACE VIEW ai_usage_logs AS
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

-- The table of the jaaz frontend. Whole credits that may be spent now: a part of one is none, and what is owed comes
-- first.

CREATE VIEW user_credits WITH (security_invoker = true) AS
SELECT
    user_id,
    floor(greatest(available - debt, 0) / 10000.0)::integer AS credits,
    opened_at AS created_at,
    changed_at AS updated_at
FROM ledger.accounts;

-- Exported by `darkroom schemas` from darkroom/views; `darkroom migrate` runs the same by itself.

BEGIN;

DO $drop$
BEGIN
    IF obj_description(to_regnamespace('jaaz'), 'pg_namespace') = 'Made anew by darkroom migrate: keep nothing of your own here.' THEN
        DROP SCHEMA jaaz CASCADE;
    END IF;
END $drop$;

CREATE SCHEMA jaaz;
COMMENT ON SCHEMA jaaz IS 'Made anew by darkroom migrate: keep nothing of your own here.';
SET LOCAL search_path = jaaz;

-- The table of the jaaz frontend. Whole credits that may be spent now: a part of one is none, and what is owed comes
-- first.

CREATE VIEW user_credits WITH (security_invoker = true) AS
SELECT
    user_id,
    floor(greatest(available - debt, 0) / 10000.0)::integer AS credits,
    opened_at AS created_at,
    changed_at AS updated_at
FROM ledger.accounts;

SET LOCAL search_path TO DEFAULT;
GRANT USAGE ON SCHEMA jaaz TO anon, authenticated, service_role;
GRANT SELECT ON ALL TABLES IN SCHEMA jaaz TO anon, authenticated, service_role;
GRANT DELETE ON ALL TABLES IN SCHEMA jaaz TO authenticated, service_role;
NOTIFY pgrst, 'reload schema';

COMMIT;

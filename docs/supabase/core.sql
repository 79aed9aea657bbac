-- Exported by `darkroom schemas` from darkroom/views; `darkroom migrate` runs the same by itself.

BEGIN;

DO $drop$
BEGIN
    IF obj_description(to_regnamespace('views'), 'pg_namespace') = 'Made anew by darkroom migrate: keep nothing of your own here.' THEN
        DROP SCHEMA views CASCADE;
    END IF;
END $drop$;

-- What the views of every dialect stand on: the roles that Supabase knows, who may see which row of the services' tables,
-- and the schema `views` with what their files call. Run by the administrator, the files of the dialects after it.

DO $roles$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
        END IF;
        -- The gateway may become one of them for a transaction, and is none of them otherwise.
        IF NOT pg_has_role('gateway', name, 'SET') THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', name, 'gateway');
            EXCEPTION WHEN insufficient_privilege THEN
                -- Somebody else's roles, as on a hosted Supabase: there its own API reads the views.
                RAISE NOTICE 'the gateway cannot become %', name;
            END;
        END IF;
    END LOOP;
END $roles$;

-- Who asks, as Supabase says it. Where Supabase is, it has made these.
DO $auth$
BEGIN
    IF to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth;
        GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    END IF;
    IF to_regprocedure('auth.jwt()') IS NULL THEN
        CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE RETURN
            coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE RETURN
            coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), auth.jwt() ->> 'sub')::uuid;
    END IF;
    IF to_regprocedure('auth.role()') IS NULL THEN
        CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE RETURN
            coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), auth.jwt() ->> 'role');
    END IF;
END $auth$;

-- Policies of ours are made anew each time: those of another version of these files must not outlive it.
DO $policies$
DECLARE
    policy record;
BEGIN
    FOR policy IN
        SELECT polname, polrelid::regclass AS target FROM pg_policy WHERE polname LIKE 'darkroom\_%'
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy.polname, policy.target);
    END LOOP;
END $policies$;

CREATE SCHEMA views;
GRANT USAGE ON SCHEMA views TO PUBLIC;

-- What is exported: the columns of every dialect's views, and the functions that say which of their rows belong together.
CREATE VIEW views.columns AS
SELECT n.nspname AS schema, c.relname AS relation, a.attname AS name, format_type(a.atttypid, NULL) AS type,
    a.attnum AS position
FROM pg_namespace n
JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'v'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE obj_description(n.oid, 'pg_namespace') = 'Made anew by darkroom migrate: keep nothing of your own here.' AND n.nspname <> 'views';

CREATE VIEW views.relationships AS
SELECT n.nspname AS schema, source.relname AS relation, p.proname AS name, target.relname AS target,
    p.prorows = 1 AS to_one
FROM pg_namespace n
JOIN pg_proc p ON p.pronamespace = n.oid AND p.proretset AND p.pronargs = 1
JOIN pg_class source ON source.reltype = p.proargtypes[0] AND source.relnamespace = n.oid
JOIN pg_class target ON target.reltype = p.prorettype AND target.relnamespace = n.oid
WHERE obj_description(n.oid, 'pg_namespace') = 'Made anew by darkroom migrate: keep nothing of your own here.';

GRANT SELECT ON views.columns, views.relationships TO PUBLIC;

-- Where media are found: what the gateway says for its transaction, else what PUBLIC_URL was when this ran. What is its
-- owner's alone is found elsewhere where the gateway says so: its address opens when it is signed, and only then.
CREATE FUNCTION views.address(path text, visibility text DEFAULT NULL) RETURNS text LANGUAGE sql STABLE RETURN
    coalesce(
        CASE visibility WHEN 'owner' THEN nullif(current_setting('darkroom.owner_media_base', true), '') END,
        nullif(current_setting('darkroom.media_base', true), ''),
        'http://127.0.0.1:3001'
    ) || path;

-- What follows it for an asset of storage.
CREATE FUNCTION views.media_path(token text, mime_type text) RETURNS text LANGUAGE sql IMMUTABLE RETURN
    '/media/' || token || '/original.' || CASE mime_type WHEN 'image/png' THEN 'png' WHEN 'image/jpeg' THEN 'jpg' WHEN 'image/webp' THEN 'webp' WHEN 'video/mp4' THEN 'mp4' WHEN 'video/quicktime' THEN 'mov' WHEN 'video/webm' THEN 'webm' WHEN 'audio/mp4' THEN 'm4a' WHEN 'audio/webm' THEN 'weba' WHEN 'audio/mpeg' THEN 'mp3' WHEN 'audio/wav' THEN 'wav' WHEN 'audio/ogg' THEN 'ogg' WHEN 'audio/flac' THEN 'flac' WHEN 'audio/aac' THEN 'aac' WHEN 'application/json' THEN 'json' END;

-- Lets users read their own rows of a service's table, a service all of them, and nobody any other. The services are
-- not concerned: row-level security does not hold for a table's owner. Without columns all of them can be read.
CREATE FUNCTION views.open(target regclass, owner text, VARIADIC columns text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    schema regnamespace := (SELECT relnamespace FROM pg_class WHERE oid = target);
    readable text := (SELECT string_agg(quote_ident(name), ', ') FROM unnest(columns) AS name);
BEGIN
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = target) THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    END IF;
    -- In a subquery the user is found out once and not for every row.
    EXECUTE format('CREATE POLICY darkroom_owner ON %s FOR SELECT TO authenticated USING (%I = (SELECT auth.uid()))',
        target, owner);
    EXECUTE format('CREATE POLICY darkroom_service ON %s FOR SELECT TO service_role USING (true)', target);
    EXECUTE format('REVOKE ALL ON %s FROM anon, authenticated, service_role', target);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO anon, authenticated, service_role', schema);
    EXECUTE format('GRANT SELECT %s ON %s TO anon, authenticated, service_role', '(' || readable || ')', target);
END $$;

-- A view that a service has made itself: read with the rights of whoever reads it.
CREATE FUNCTION views.open_view(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', target);
    EXECUTE format('GRANT SELECT ON %s TO anon, authenticated, service_role', target);
END $$;

-- The trigger of a view whose rows are generations, or parts of one: INSTEAD OF DELETE … EXECUTE FUNCTION
-- views.delete_generation('<the column with its id>'). As the gateway's own deletion: the row is hidden for ever, and
-- storage is told of it later. Only rows that the view shows reach it, so they are the caller's own.
CREATE FUNCTION views.delete_generation() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    deleted_id uuid := to_jsonb(OLD) ->> TG_ARGV[0];
BEGIN
    UPDATE gateway.generations SET deleted_at = now()
    WHERE id = deleted_id AND deleted_at IS NULL AND status NOT IN ('pending', 'processing');
    IF NOT FOUND AND EXISTS (SELECT FROM gateway.generations WHERE id = deleted_id AND deleted_at IS NULL) THEN
        RAISE EXCEPTION 'The generation is still at work: cancel it first.' USING ERRCODE = 'PT409';
    END IF;
    RETURN OLD;
END $$;
REVOKE EXECUTE ON FUNCTION views.open, views.open_view, views.delete_generation FROM PUBLIC;

SELECT views.open('gateway.generations', 'user_id', 'id', 'user_id', 'dialect', 'kind', 'lane', 'model', 'prompt', 'size',
    'count', 'options', 'particulars', 'quote_amount', 'status', 'created_at', 'completed_at', 'deleted_at', 'outcome');
SELECT views.open('darkroom_storage.assets', 'owner_id');
SELECT views.open('ledger.accounts', 'user_id');
SELECT views.open('ledger.payments', 'user_id');
SELECT views.open('ledger.holds', 'user_id');
SELECT views.open('ledger.corrections', 'user_id');
SELECT views.open('ledger.consumptions', 'user_id');
SELECT views.open_view('ledger.user_ai_credits');
SELECT views.open_view('ledger.ai_usage_logs');

COMMENT ON SCHEMA views IS 'Made anew by darkroom migrate: keep nothing of your own here.';

COMMIT;

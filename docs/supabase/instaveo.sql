-- Exported by `darkroom schemas` from darkroom/views; `darkroom migrate` runs the same by itself.

BEGIN;

DO $drop$
BEGIN
    IF obj_description(to_regnamespace('instaveo'), 'pg_namespace') = 'Made anew by darkroom migrate: keep nothing of your own here.' THEN
        DROP SCHEMA instaveo CASCADE;
    END IF;
END $drop$;

CREATE SCHEMA instaveo;
COMMENT ON SCHEMA instaveo IS 'Made anew by darkroom migrate: keep nothing of your own here.';
SET LOCAL search_path = instaveo;

-- The tables of the instaveo frontend. A video is a generation and what the gateway keeps beside it.
--
-- Who sees what: one's own, and of others what is published. Generations are not opened for that, since every reader of
-- every dialect would pay for the question; a function that asks it shows the few columns that these views need.

CREATE TYPE video_status AS ENUM ('pending', 'processing', 'completed', 'failed');
CREATE TYPE asset_type AS ENUM ('video', 'thumbnail');
CREATE TYPE reaction AS ENUM ('like', 'dislike');
CREATE TYPE job_status AS ENUM ('queued', 'running', 'succeeded', 'failed');

SELECT views.open('gateway.instaveo_videos', 'user_id');
SELECT views.open('gateway.instaveo_reactions', 'user_id');
SELECT views.open('gateway.instaveo_views', 'user_id', 'id', 'video_id', 'viewer', 'user_id', 'created_at');
SELECT views.open('gateway.instaveo_creators', 'id', 'id', 'username', 'avatar_url', 'videos_created', 'total_likes',
    'total_dislikes', 'creator_score', 'last_active_at', 'created_at', 'updated_at');
CREATE POLICY darkroom_instaveo_published ON gateway.instaveo_videos FOR SELECT TO anon, authenticated
    USING (is_published AND is_live);
CREATE POLICY darkroom_instaveo_profiles ON gateway.instaveo_creators FOR SELECT TO authenticated USING (true);

CREATE FUNCTION views.instaveo_generation(video_id uuid)
RETURNS TABLE (prompt text, status text, ended_at timestamptz, asset jsonb, backend text, failure text, visibility text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog ROWS 1 AS $$
    SELECT g.prompt, g.status, g.completed_at,
        CASE g.status WHEN 'completed' THEN g.outcome -> 'data' -> 'assets' -> 0 END,
        coalesce((SELECT a.backend FROM darkroom_storage.assets a WHERE a.generation_id = g.id AND a.index = 0), 'local'),
        g.outcome -> 'data' -> 'failure' ->> 'message', g.particulars ->> 'visibility'
    FROM gateway.generations g JOIN gateway.instaveo_videos v ON v.id = g.id
    WHERE g.id = video_id AND g.deleted_at IS NULL
        AND (g.user_id = auth.uid() OR auth.role() = 'service_role' OR (v.is_published AND g.status = 'completed'
            AND g.particulars ->> 'visibility' IS DISTINCT FROM 'owner'))
$$;

-- A user's address is their own affair.
CREATE FUNCTION views.instaveo_email(user_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT CASE WHEN c.id = auth.uid() OR auth.role() = 'service_role' THEN c.email ELSE '' END
    FROM gateway.instaveo_creators c WHERE c.id = user_id
$$;

-- What is published is seen by everybody and deleted by its owner alone.
CREATE FUNCTION views.instaveo_own() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RETURN CASE WHEN OLD.user_id = auth.uid() OR auth.role() = 'service_role' THEN OLD END;
END $$;

CREATE VIEW videos WITH (security_invoker = true) AS
SELECT
    v.id,
    v.user_id,
    g.prompt,
    coalesce(views.address('/media/' || (g.asset ->> 'key'), g.visibility), '') AS video_url,
    views.address('/media/' || coalesce(g.asset -> 'variants' ->> 'poster', g.asset -> 'variants' ->> 'thumbnail'),
        g.visibility) AS thumbnail_url,
    (CASE WHEN g.status IN ('pending', 'processing', 'completed') THEN g.status ELSE 'failed' END)::video_status
        AS status,
    v.likes AS likes_count,
    v.dislikes AS dislikes_count,
    v.views AS views_count,
    v.ranking_score::numeric AS ranking_score,
    v.created_at,
    greatest(v.updated_at, g.ended_at) AS updated_at,
    v.source_video_id
FROM gateway.instaveo_videos v CROSS JOIN LATERAL views.instaveo_generation(v.id) g;

CREATE VIEW video_assets WITH (security_invoker = true) AS
SELECT
    v.id AS video_id,
    kept.asset_type::asset_type AS asset_type,
    g.backend AS storage_backend,
    kept.key AS storage_key,
    '/media/' || kept.key AS file_path,
    views.address('/media/' || kept.key, g.visibility) AS public_url,
    CASE kept.asset_type WHEN 'video' THEN g.asset ->> 'source_url' END AS source_url,
    CASE kept.asset_type WHEN 'video' THEN round((g.asset ->> 'seconds')::numeric)::integer END AS duration_seconds,
    g.ended_at AS created_at,
    g.ended_at AS updated_at
FROM gateway.instaveo_videos v CROSS JOIN LATERAL views.instaveo_generation(v.id) g
CROSS JOIN LATERAL (VALUES
    ('video', g.asset ->> 'key'),
    ('thumbnail', coalesce(g.asset -> 'variants' ->> 'poster', g.asset -> 'variants' ->> 'thumbnail'))
) AS kept (asset_type, key)
WHERE kept.key IS NOT NULL;

CREATE VIEW video_reactions WITH (security_invoker = true) AS
SELECT id, video_id, user_id, reaction::reaction AS reaction, created_at FROM gateway.instaveo_reactions;

CREATE VIEW video_views WITH (security_invoker = true) AS
SELECT id, video_id, user_id, viewer AS session_id, created_at FROM gateway.instaveo_views;

CREATE VIEW profiles WITH (security_invoker = true) AS
SELECT id, username, views.instaveo_email(id) AS email, avatar_url, created_at, updated_at, last_active_at
FROM gateway.instaveo_creators;

CREATE VIEW creator_stats WITH (security_invoker = true) AS
SELECT id AS user_id, videos_created, total_likes, total_dislikes, last_active_at, creator_score
FROM gateway.instaveo_creators;

CREATE VIEW video_jobs WITH (security_invoker = true) AS
SELECT
    v.id,
    v.id AS video_id,
    g.prompt,
    (CASE g.status WHEN 'pending' THEN 'queued' WHEN 'processing' THEN 'running' WHEN 'completed' THEN 'succeeded'
        ELSE 'failed' END)::job_status AS status,
    coalesce(g.failure, CASE g.status WHEN 'declined' THEN 'Not enough credits.'
        WHEN 'cancelled' THEN 'The video was cancelled.' END) AS failure_reason,
    v.created_at,
    coalesce(g.ended_at, v.updated_at) AS updated_at,
    views.address('/media/' || (g.asset ->> 'key'), g.visibility) AS output_url
FROM gateway.instaveo_videos v CROSS JOIN LATERAL views.instaveo_generation(v.id) g
WHERE v.user_id = (SELECT auth.uid()) OR (SELECT auth.role()) = 'service_role';

CREATE TRIGGER a_own_only INSTEAD OF DELETE ON videos FOR EACH ROW EXECUTE FUNCTION views.instaveo_own();
CREATE TRIGGER delete_it INSTEAD OF DELETE ON videos FOR EACH ROW EXECUTE FUNCTION views.delete_generation('id');

SET LOCAL search_path TO DEFAULT;
GRANT USAGE ON SCHEMA instaveo TO anon, authenticated, service_role;
GRANT SELECT ON ALL TABLES IN SCHEMA instaveo TO anon, authenticated, service_role;
GRANT DELETE ON ALL TABLES IN SCHEMA instaveo TO authenticated, service_role;
NOTIFY pgrst, 'reload schema';

COMMIT;

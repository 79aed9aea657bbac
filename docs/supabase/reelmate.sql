-- Exported by `darkroom schemas` from darkroom/views; `darkroom migrate` runs the same by itself.

BEGIN;

DO $drop$
BEGIN
    IF obj_description(to_regnamespace('reelmate'), 'pg_namespace') = 'Made anew by darkroom migrate: keep nothing of your own here.' THEN
        DROP SCHEMA reelmate CASCADE;
    END IF;
END $drop$;

CREATE SCHEMA reelmate;
COMMENT ON SCHEMA reelmate IS 'Made anew by darkroom migrate: keep nothing of your own here.';
SET LOCAL search_path = reelmate;

-- The tables of the reelmate frontend. A job and its film are one generation, and bear its id; what we ship has no user
-- and is everybody's.

SELECT views.open('gateway.campaigns', 'user_id');
SELECT views.open('gateway.ai_avatars', 'user_id');
SELECT views.open('gateway.ai_voices', 'user_id');
SELECT views.open('gateway.prompt_templates', 'user_id');
SELECT views.open('gateway.video_analytics', 'user_id');
CREATE POLICY darkroom_reelmate_shipped ON gateway.ai_avatars FOR SELECT TO anon, authenticated USING (user_id IS NULL);
CREATE POLICY darkroom_reelmate_public ON gateway.prompt_templates FOR SELECT TO anon, authenticated USING (is_public);
CREATE POLICY darkroom_reelmate_voices ON gateway.ai_voices FOR SELECT TO anon, authenticated USING (user_id IS NULL);

CREATE VIEW campaigns WITH (security_invoker = true) AS
SELECT id, user_id, name, description, type, status, platforms, video_format, target_audience, budget, hashtags,
    call_to_action, start_date, end_date, created_at, updated_at
FROM gateway.campaigns;

-- Previews are the gateway's own, and so are served where media are unless a CDN is before them.
CREATE VIEW ai_avatars WITH (security_invoker = true) AS
SELECT
    id,
    user_id,
    name,
    description,
    gender,
    style,
    views.address(coalesce('/api/ai-studio/previews/' || preview, '/media/' || asset_key)) AS image_url,
    views.address(coalesce('/api/ai-studio/previews/' || preview, '/media/' || coalesce(thumbnail_key, asset_key)))
        AS preview_url,
    user_id IS NOT NULL AS is_custom,
    true AS is_active,
    created_at
FROM gateway.ai_avatars;

CREATE VIEW ai_voices WITH (security_invoker = true) AS
SELECT
    id,
    name,
    description,
    gender,
    language,
    voice AS provider_voice_id,
    views.address('/api/ai-studio/previews/' || preview) AS preview_url,
    true AS is_active,
    created_at
FROM gateway.ai_voices WHERE voice IS NOT NULL AND forget_at IS NULL;

CREATE VIEW prompt_templates WITH (security_invoker = true) AS
SELECT id, user_id, name, description, category, template, variables, is_public, usage_count, created_at, updated_at
FROM gateway.prompt_templates;

CREATE VIEW video_generation_jobs WITH (security_invoker = true) AS
SELECT
    id,
    user_id,
    (particulars -> 'remarks' ->> 'campaign_id')::uuid AS campaign_id,
    'avatar_video' AS job_type,
    CASE status WHEN 'declined' THEN 'failed' ELSE status END AS status,
    prompt AS script,
    (particulars -> 'remarks' ->> 'avatar_id')::uuid AS avatar_id,
    (particulars -> 'remarks' ->> 'voice_id')::uuid AS voice_id,
    coalesce(particulars -> 'remarks' -> 'settings', '{}') AS generation_settings,
    (quote_amount / 10000.0)::decimal(12, 4) AS estimated_cost,
    CASE status WHEN 'completed' THEN views.address('/media/' || (outcome #>> '{data,assets,0,key}'),
        particulars ->> 'visibility') END AS video_url,
    CASE WHEN status NOT IN ('pending', 'processing', 'completed') THEN
        coalesce(outcome #>> '{data,failure,message}', CASE status WHEN 'declined' THEN 'Not enough credits.'
            ELSE 'The video was cancelled.' END) END AS error_message,
    created_at,
    coalesce(completed_at, created_at) AS updated_at,
    completed_at
FROM gateway.generations WHERE dialect = 'reelmate' AND kind = 'video' AND deleted_at IS NULL;

CREATE VIEW generated_videos WITH (security_invoker = true) AS
SELECT
    id,
    id AS job_id,
    user_id,
    (particulars -> 'remarks' ->> 'campaign_id')::uuid AS campaign_id,
    prompt AS script,
    (particulars -> 'remarks' ->> 'avatar_id')::uuid AS avatar_id,
    (particulars -> 'remarks' ->> 'voice_id')::uuid AS voice_id,
    views.address('/media/' || (film ->> 'key'), particulars ->> 'visibility') AS video_url,
    views.address('/media/' || coalesce(film -> 'variants' ->> 'poster', film -> 'variants' ->> 'thumbnail'),
        particulars ->> 'visibility') AS thumbnail_url,
    (film ->> 'seconds')::double precision AS duration,
    (film ->> 'size_bytes')::bigint AS file_size,
    (film ->> 'width') || 'x' || (film ->> 'height') AS resolution,
    split_part(film ->> 'mime_type', '/', 2) AS format,
    (quote_amount / 10000.0)::decimal(12, 4) AS cost,
    status,
    completed_at AS created_at
FROM gateway.generations CROSS JOIN LATERAL jsonb_array_elements(outcome -> 'data' -> 'assets') AS film
WHERE dialect = 'reelmate' AND kind = 'video' AND status = 'completed' AND deleted_at IS NULL;

CREATE VIEW video_analytics WITH (security_invoker = true) AS
SELECT generation_id AS video_id, user_id, day AS date, views, plays, completions, downloads, shares
FROM gateway.video_analytics;

-- Which rows belong together, for PostgREST.
CREATE FUNCTION campaigns(video_generation_jobs) RETURNS SETOF campaigns ROWS 1 LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM campaigns WHERE id = $1.campaign_id; END;
CREATE FUNCTION campaigns(generated_videos) RETURNS SETOF campaigns ROWS 1 LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM campaigns WHERE id = $1.campaign_id; END;
CREATE FUNCTION video_analytics(generated_videos) RETURNS SETOF video_analytics LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM video_analytics WHERE video_id = $1.id; END;

CREATE TRIGGER delete_it INSTEAD OF DELETE ON video_generation_jobs
FOR EACH ROW EXECUTE FUNCTION views.delete_generation('id');
CREATE TRIGGER delete_it INSTEAD OF DELETE ON generated_videos
FOR EACH ROW EXECUTE FUNCTION views.delete_generation('id');

-- One's own may be deleted; what is shipped, or somebody else's and public, is only seen.
CREATE FUNCTION views.reelmate_delete() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF OLD.user_id IS DISTINCT FROM auth.uid() AND auth.role() IS DISTINCT FROM 'service_role' THEN
        RETURN NULL;
    END IF;
    EXECUTE format('DELETE FROM gateway.%I WHERE id = $1 AND user_id = $2', TG_ARGV[0]) USING OLD.id, OLD.user_id;
    RETURN OLD;
END $$;
REVOKE EXECUTE ON FUNCTION views.reelmate_delete FROM PUBLIC;

CREATE TRIGGER delete_it INSTEAD OF DELETE ON campaigns FOR EACH ROW EXECUTE FUNCTION views.reelmate_delete('campaigns');
CREATE TRIGGER delete_it INSTEAD OF DELETE ON prompt_templates
FOR EACH ROW EXECUTE FUNCTION views.reelmate_delete('prompt_templates');
CREATE TRIGGER delete_it INSTEAD OF DELETE ON ai_avatars
FOR EACH ROW EXECUTE FUNCTION views.reelmate_delete('ai_avatars');

SET LOCAL search_path TO DEFAULT;
GRANT USAGE ON SCHEMA reelmate TO anon, authenticated, service_role;
GRANT SELECT ON ALL TABLES IN SCHEMA reelmate TO anon, authenticated, service_role;
GRANT DELETE ON ALL TABLES IN SCHEMA reelmate TO authenticated, service_role;
NOTIFY pgrst, 'reload schema';

COMMIT;

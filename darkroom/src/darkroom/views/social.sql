-- The tables of the social frontend. Its pictures are what generations delivered: a row stays when its generation is
-- deleted, and is active no more. What the prompt was enhanced with is nobody's reading: `prompt` is the user's own.

SELECT views.open('gateway.image_downloads', 'user_id');

-- The services are named as `service_of` in the gateway's dialect names them.
CREATE VIEW ai_generated_images WITH (security_invoker = true) AS
SELECT
    (image ->> 'id')::uuid AS id,
    user_id,
    prompt,
    (particulars -> 'remarks' ->> 'style')::varchar(50) AS style,
    views.address('/media/' || (image ->> 'key'), particulars ->> 'visibility')::varchar(255) AS original_url,
    views.address('/media/' || coalesce(image -> 'variants' ->> 'thumbnail', image ->> 'key'),
        particulars ->> 'visibility')::varchar(255) AS thumbnail_url,
    (image ->> 'size_bytes')::integer AS file_size,
    jsonb_build_object('width', image -> 'width', 'height', image -> 'height') AS dimensions,
    (CASE WHEN outcome -> 'data' ->> 'provider' IN ('openai', 'google') THEN 'openai' ELSE 'stable-diffusion' END)
        ::varchar(50) AS ai_service,
    -- As contracts.money.cost has it: a share of the price where it was made before.
    (quote_amount / "count" * coalesce((outcome #>> '{data,cached,percent}')::integer, 100) / 100 / 10000.0)
        ::decimal(10, 4) AS generation_cost,
    created_at AT TIME ZONE 'UTC' AS created_at,
    deleted_at IS NULL AS is_active
FROM gateway.generations CROSS JOIN LATERAL jsonb_array_elements(outcome -> 'data' -> 'assets') AS image
WHERE dialect = 'social' AND kind = 'image' AND status = 'completed';

CREATE VIEW user_ai_credits WITH (security_invoker = true) AS
SELECT
    user_id,
    total_credits,
    used_credits,
    remaining_credits,
    last_purchase_date,
    subscription_tier::varchar(50) AS subscription_tier
FROM ledger.user_ai_credits;

CREATE VIEW ai_usage_logs WITH (security_invoker = true) AS
SELECT id, user_id, action_type::varchar(50) AS action_type, credits_consumed, metadata, created_at
FROM ledger.ai_usage_logs
UNION ALL
SELECT
    id,
    user_id,
    'image_download'::varchar(50),
    0,
    jsonb_build_object('imageId', asset_id, 'generationId', generation_id),
    downloaded_at AT TIME ZONE 'UTC'
FROM gateway.image_downloads;

-- One picture is a part of what a request delivered and is hidden with it; credits and logs are nobody's to delete.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'PT405';
END $$;

CREATE TRIGGER keep_it INSTEAD OF DELETE ON ai_generated_images
FOR EACH ROW EXECUTE FUNCTION keep('A picture is deleted with its generation: DELETE /v1/generations/{id}.');
CREATE TRIGGER keep_it INSTEAD OF DELETE ON user_ai_credits
FOR EACH ROW EXECUTE FUNCTION keep('Credits are spent, not deleted.');
CREATE TRIGGER keep_it INSTEAD OF DELETE ON ai_usage_logs
FOR EACH ROW EXECUTE FUNCTION keep('What was used stays in the log.');

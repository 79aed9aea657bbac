-- The tables of the modelark frontend. A generation is a prompt, what it delivered are its images or its videos.

CREATE VIEW prompts WITH (security_invoker = true) AS
SELECT
    id,
    user_id,
    prompt,
    model::varchar AS model_used,
    kind::varchar AS type,
    CASE kind WHEN 'image' THEN size END::varchar AS size,
    'en'::varchar AS language,
    created_at AT TIME ZONE 'UTC' AS created_at
FROM gateway.generations
WHERE dialect = 'modelark' AND kind IN ('image', 'video') AND deleted_at IS NULL;

-- Each asset finds its generation by its key: LIMIT keeps the two from being joined by what a user has of both, which is
-- planned for few and would compare all with all where somebody has many.
CREATE VIEW images WITH (security_invoker = true) AS
SELECT
    a.id,
    a.generation_id AS prompt_id,
    views.address(views.media_path(a.token, a.mime_type), a.visibility) AS url,
    coalesce(g.size, a.width || 'x' || a.height)::varchar AS size,
    a.size_bytes AS file_size,
    a.mime_type::varchar AS mime_type,
    a.created_at AT TIME ZONE 'UTC' AS created_at
FROM storage.assets a
CROSS JOIN LATERAL (
    SELECT size FROM gateway.generations
    WHERE id = a.generation_id AND dialect = 'modelark' AND kind = 'image' AND status = 'completed'
        AND deleted_at IS NULL
    LIMIT 1
) AS g
WHERE a.state = 'stored';

CREATE VIEW videos WITH (security_invoker = true) AS
SELECT
    a.id,
    a.generation_id AS prompt_id,
    views.address(views.media_path(a.token, a.mime_type), a.visibility) AS url,
    coalesce(g.seconds, a.seconds::numeric)::integer AS duration,
    (asked.width / gcd(asked.width, asked.height) || ':' || asked.height / gcd(asked.width, asked.height))::varchar
        AS aspect_ratio,
    a.size_bytes AS file_size,
    a.mime_type::varchar AS mime_type,
    a.created_at AT TIME ZONE 'UTC' AS created_at
FROM storage.assets a
CROSS JOIN LATERAL (
    SELECT size, (particulars ->> 'seconds')::numeric AS seconds FROM gateway.generations
    WHERE id = a.generation_id AND dialect = 'modelark' AND kind = 'video' AND status = 'completed'
        AND deleted_at IS NULL
    LIMIT 1
) AS g
CROSS JOIN LATERAL (SELECT
    coalesce(split_part(g.size, 'x', 1)::integer, nullif(a.width, 0)) AS width,
    coalesce(split_part(g.size, 'x', 2)::integer, nullif(a.height, 0)) AS height
) AS asked
WHERE a.state = 'stored';

-- No foreign key leads from storage's tables to the gateway's, so the relationships are said: PostgREST's "computed
-- relationships", one function for each way. Without a search path of their own, so that they are inlined.
CREATE FUNCTION prompts(images) RETURNS SETOF prompts ROWS 1 LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM prompts WHERE id = $1.prompt_id; END;
CREATE FUNCTION prompts(videos) RETURNS SETOF prompts ROWS 1 LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM prompts WHERE id = $1.prompt_id; END;
CREATE FUNCTION images(prompts) RETURNS SETOF images LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM images WHERE prompt_id = $1.id; END;
CREATE FUNCTION videos(prompts) RETURNS SETOF videos LANGUAGE sql STABLE
BEGIN ATOMIC SELECT * FROM videos WHERE prompt_id = $1.id; END;

CREATE TRIGGER delete_it INSTEAD OF DELETE ON prompts
FOR EACH ROW EXECUTE FUNCTION views.delete_generation('id');
CREATE TRIGGER delete_it INSTEAD OF DELETE ON images
FOR EACH ROW EXECUTE FUNCTION views.delete_generation('prompt_id');
CREATE TRIGGER delete_it INSTEAD OF DELETE ON videos
FOR EACH ROW EXECUTE FUNCTION views.delete_generation('prompt_id');

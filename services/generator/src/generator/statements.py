"""The SQL of work and attempts. Every write compares the fence and the state."""

from sqlalchemy import text

# For several generations at once, locked in the order of their ids, so that two processes never wait in a circle. Fence
# and state are those of the locked rows: asked of the table, they would be looked for in the whole index of open work.
CLAIM = text("""
    WITH claimed AS (
        INSERT INTO work AS existing
            (generation_id, state, request, deadline_at, traceparent, lease_process, fence, lease_until)
        SELECT new.generation_id, 'open', CAST(new.request AS jsonb), new.deadline_at, new.traceparent, :process, 1,
            now() + make_interval(secs => :lease_seconds)
        FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:requests AS text[]), CAST(:deadlines AS timestamptz[]),
            CAST(:traceparents AS text[])) AS new (generation_id, request, deadline_at, traceparent)
        ORDER BY new.generation_id
        ON CONFLICT (generation_id) DO UPDATE SET
            lease_process = excluded.lease_process, fence = existing.fence + 1, lease_until = excluded.lease_until
        WHERE existing.state = 'open' AND existing.not_before <= now()
            AND (existing.lease_until < now() OR existing.lease_process = excluded.lease_process)
        RETURNING generation_id, fence, EXTRACT(EPOCH FROM deadline_at - now())::float8 AS remaining_seconds
    ), begun AS (
        INSERT INTO attempts
            (id, generation_id, item, number, first_index, count, state, provider, own_key, model, kind, process, fence)
        SELECT attempt.id, attempt.generation_id, attempt.item, 1, attempt.first_index, attempt.count, 'intent',
            attempt.provider, attempt.own_key, attempt.model, attempt.kind, :process, 1
        FROM claimed JOIN unnest(CAST(:ids AS uuid[]), CAST(:attempted AS uuid[]), CAST(:items AS int[]),
            CAST(:first_indexes AS int[]), CAST(:counts AS int[]), CAST(:providers AS text[]),
            CAST(:own_keys AS boolean[]), CAST(:models AS text[]), CAST(:kinds AS text[]))
            AS attempt (id, generation_id, item, first_index, count, provider, own_key, model, kind)
            USING (generation_id)
        WHERE claimed.fence = 1 AND claimed.remaining_seconds > :least_seconds
    )
    SELECT generation_id, fence, remaining_seconds FROM claimed
""")
LOOK = text("""
    SELECT state, fence, reused, outcome::text AS outcome FROM work WHERE generation_id = :generation_id
""")
ATTEMPTS = text("""
    SELECT id, item, number, first_index, count AS outputs_count, state, provider, own_key, model, kind, process, task,
        provider_cost_micros, result::text AS result, error::text AS error,
        EXTRACT(EPOCH FROM now() - created_at)::float8 AS age_seconds
    FROM attempts WHERE generation_id = :generation_id ORDER BY item, number
""")
SAVE = text("""
    WITH saved AS (
        SELECT * FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:fences AS int[]), CAST(:work_states AS text[]),
            CAST(:leases_seconds AS float8[]), CAST(:pauses_seconds AS float8[]))
            AS saved (generation_id, fence, state, lease_seconds, pause_seconds)
    ), locked AS MATERIALIZED (
        SELECT generation_id, fence, state FROM work
        WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) ORDER BY generation_id FOR UPDATE
    ), mine AS (
        UPDATE work SET
            state = saved.state,
            lease_process = CASE WHEN saved.lease_seconds = 0 THEN NULL ELSE lease_process END,
            lease_until = COALESCE(now() + make_interval(secs => saved.lease_seconds), lease_until),
            not_before = now() + make_interval(secs => saved.pause_seconds)
        FROM saved JOIN locked USING (generation_id)
        WHERE work.generation_id = saved.generation_id AND locked.fence = saved.fence AND locked.state = 'open'
        RETURNING work.generation_id, work.fence
    ), ended AS (
        UPDATE attempts SET state = result.state, result = CAST(result.result AS jsonb),
            error = CAST(result.error AS jsonb), task = COALESCE(result.task, attempts.task),
            provider_cost_micros = COALESCE(result.cost_micros, attempts.provider_cost_micros),
            ended_at = CASE WHEN result.state = 'submitted' THEN NULL ELSE now() END
        FROM mine, unnest(CAST(:ended_ids AS uuid[]), CAST(:states AS text[]), CAST(:results AS text[]),
            CAST(:errors AS text[]), CAST(:tasks AS text[]), CAST(:costs_micros AS bigint[]))
            AS result (id, state, result, error, task, cost_micros)
        WHERE attempts.id = result.id AND attempts.generation_id = mine.generation_id
            AND attempts.state IN ('intent', 'submitted') AND (attempts.task IS NULL OR result.task IS NOT NULL)
    ), begun AS (
        INSERT INTO attempts
            (id, generation_id, item, number, first_index, count, state, provider, own_key, model, kind, process, fence)
        SELECT attempt.id, mine.generation_id, attempt.item, attempt.number, attempt.first_index, attempt.count,
            'intent', attempt.provider, attempt.own_key, attempt.model, attempt.kind, :process, mine.fence
        FROM mine JOIN unnest(CAST(:ids AS uuid[]), CAST(:attempted AS uuid[]), CAST(:items AS int[]),
            CAST(:numbers AS int[]), CAST(:first_indexes AS int[]), CAST(:counts AS int[]),
            CAST(:providers AS text[]), CAST(:own_keys AS boolean[]), CAST(:models AS text[]), CAST(:kinds AS text[]))
            AS attempt (id, generation_id, item, number, first_index, count, provider, own_key, model, kind)
            USING (generation_id)
        ON CONFLICT (id) DO NOTHING
    )
    SELECT generation_id FROM mine
""")
RENEW = text("""
    WITH held AS (
        SELECT generation_id, fence FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:fences AS int[]))
            AS held (generation_id, fence)
    ), locked AS MATERIALIZED (
        SELECT generation_id, fence, state, lease_process FROM work
        WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) ORDER BY generation_id FOR UPDATE
    ), renewed AS (
        UPDATE work SET lease_until = now() + make_interval(secs => :lease_seconds)
        FROM held JOIN locked USING (generation_id)
        WHERE work.generation_id = held.generation_id AND locked.fence = held.fence AND locked.state = 'open'
            AND locked.lease_process = :process
    )
    SELECT work.generation_id FROM work JOIN held USING (generation_id)
    WHERE work.state = 'closed' OR work.fence <> held.fence
""")
TAKE_DUE = text("""
    WITH due AS (
        SELECT generation_id FROM work
        WHERE state = 'open' AND lease_until < now() AND not_before <= now()
            AND generation_id <> ALL (CAST(:running AS uuid[]))
        ORDER BY lease_until LIMIT :rows FOR UPDATE SKIP LOCKED
    )
    UPDATE work SET lease_process = :process, fence = fence + 1,
        lease_until = now() + make_interval(secs => :lease_seconds)
    FROM due WHERE work.generation_id = due.generation_id
    RETURNING work.generation_id, work.fence, work.request::text AS request, work.traceparent,
        EXTRACT(EPOCH FROM work.deadline_at - now())::float8 AS remaining_seconds
""")
CLOSE = text("""
    INSERT INTO work AS existing (generation_id, state, outcome, fence)
    SELECT ended.generation_id, 'closed', CAST(ended.outcome AS jsonb), 0
    FROM unnest(CAST(:generation_ids AS uuid[]), CAST(:outcomes AS text[])) AS ended (generation_id, outcome)
    ORDER BY ended.generation_id
    ON CONFLICT (generation_id) DO UPDATE SET
        state = 'closed', outcome = COALESCE(existing.outcome, excluded.outcome)
    RETURNING generation_id, lease_process IS NOT NULL AS interrupted
""")
# What we make ourselves was not paid for, so nothing about it is unknown.
GIVE_UP = text("""
    UPDATE attempts SET state = CASE provider WHEN 'darkroom' THEN 'failed' ELSE 'unknown' END,
        error = CAST(:error AS jsonb), ended_at = now()
    WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) AND state = 'intent'
""")
RELEASE = text("""
    UPDATE work SET lease_process = NULL, lease_until = now()
    WHERE generation_id = ANY (CAST(:generation_ids AS uuid[])) AND lease_process = :process AND state = 'open'
""")
# Tasks of generations that have an outcome, or in whose place another attempt was begun: nobody waits for them, and
# they are to be stopped where they run. In no order: those whose provider is away would keep all others from being
# asked for.
ABANDONED = text("""
    SELECT attempts.id, item, number, first_index, count AS outputs_count, attempts.state, provider, own_key, model,
        kind, process, task, provider_cost_micros, result::text AS result, error::text AS error,
        EXTRACT(EPOCH FROM now() - attempts.created_at)::float8 AS age_seconds, work.request::text AS request
    FROM attempts JOIN work USING (generation_id)
    WHERE attempts.state = 'submitted' AND (work.state = 'closed' OR EXISTS (
        SELECT 1 FROM attempts AS later WHERE later.generation_id = attempts.generation_id
            AND later.item = attempts.item AND later.number > attempts.number
    )) ORDER BY random() LIMIT :rows
""")
RENDERED_TASK = text("""
    SELECT attempts.id, item, number, first_index, count AS outputs_count, attempts.state, provider, own_key, model,
        kind, process, task, provider_cost_micros, result::text AS result, error::text AS error,
        EXTRACT(EPOCH FROM now() - attempts.created_at)::float8 AS age_seconds, work.request::text AS request
    FROM attempts JOIN work USING (generation_id)
    WHERE attempts.generation_id = :generation_id AND attempts.state = 'rendered' AND task IS NOT NULL AND kind IS NULL
        AND :index >= first_index AND :index < first_index + count
""")
STOPPED = text("""
    UPDATE attempts SET state = :state, error = CAST(:error AS jsonb), ended_at = now()
    WHERE id = :id AND state = 'submitted'
""")
# A task that came to whoever had lost its generation while it was being submitted, whatever was thought of it
# meanwhile: the next to take it over follows it, unless another attempt has its place or there is an outcome. What
# somebody saves who does not know of it changes nothing of that.
LATE = text("""
    UPDATE attempts SET state = 'submitted', task = :task, error = NULL, ended_at = NULL,
        provider_cost_micros = COALESCE(:cost_micros, provider_cost_micros)
    WHERE id = :id AND state IN ('intent', 'unknown', 'failed') AND task IS NULL
    RETURNING id
""")
# Whoever holds the lease loses it by the fence: what it says later of its own attempt changes nothing. That somebody
# did stays written, so that its intents are ended with the outcome.
TAKE_RESULT = text("""
    WITH mine AS (
        UPDATE work SET state = 'rendered', fence = fence + 1
        WHERE generation_id = :generation_id AND state = 'open' AND deadline_at > now()
        RETURNING generation_id, fence
    )
    INSERT INTO attempts
        (id, generation_id, item, number, first_index, count, state, provider, process, fence, result, ended_at)
    SELECT :id, generation_id, 0,
        (SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE generation_id = :generation_id AND item = 0),
        0, 1, 'rendered', :provider, :process, fence, CAST(:result AS jsonb), now()
    FROM mine
""")
REQUESTED = text("""
    SELECT request::text AS request, traceparent FROM work
    WHERE generation_id = :generation_id AND state = 'rendered'
""")

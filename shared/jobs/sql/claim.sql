-- Takes the lease of a job and opens its next attempt, in one commit. Returns the job either way;
-- without a `lease_token` the claim is refused. Takes over an expired lease, unless the job was
-- cancelled, has no attempt left or reached its time limit: the sweep ends such a job, and one that
-- should have started before. While its workspace or its provider is paused, no job is claimed. A
-- row with a model that this worker does not offer gets the one that its params ask for, else the
-- default one. `budget_left` is what the workspace may still spend today and this month; NULL
-- without a budget.
WITH asked AS (
    SELECT CASE WHEN %(models)s::jsonb ->> model = provider THEN model
            ELSE coalesce(left(coalesce(params #>> '{models,0}', params ->> 'model'), 255), %(model)s)
        END AS model
    FROM generation_jobs WHERE id = %(id)s
), chosen AS (
    SELECT model, coalesce(%(models)s::jsonb ->> model, %(provider)s) AS provider FROM asked
), paused AS (
    SELECT FROM held_providers JOIN chosen USING (provider)
    UNION ALL
    SELECT FROM workspace_limits JOIN generation_jobs USING (workspace_id)
    WHERE generation_jobs.id = %(id)s AND paused_at IS NOT NULL
), claimed AS (
    UPDATE generation_jobs SET
        status = 'PROCESSING', progress = %(progress)s, message = %(message)s,
        attempt = attempt + 1, lease_token = lease_token + 1, lease_owner = %(owner)s,
        lease_until = now() + make_interval(secs => least(%(lease_seconds)s, %(time_limit)s - 0.001)),
        time_limit_at = now() + make_interval(secs => %(time_limit)s),
        started_at = coalesce(started_at, now()), next_attempt_at = NULL, error = NULL,
        released_to = %(runtime)s,
        (provider, model) = (SELECT provider, model FROM chosen)
    WHERE id = %(id)s AND attempt < max_attempts AND cancel_requested_at IS NULL
        AND (start_by IS NULL OR attempt > 0 OR start_by > now())
        AND NOT EXISTS (SELECT FROM paused)
        AND (status = 'PENDING' AND (next_attempt_at IS NULL OR next_attempt_at <= now())
            OR status = 'PROCESSING' AND lease_until < now() AND lease_until < time_limit_at)
    RETURNING attempt, lease_token, provider, model
), closed AS (
    UPDATE generation_attempts SET
        finished_at = now(), outcome = 'lost',
        error = %(lost)s::jsonb || jsonb_build_object(
            'attempt', number, 'message', replace(%(lost_message)s, '{}', number::text))
    WHERE job_id = %(id)s AND finished_at IS NULL AND EXISTS (SELECT FROM claimed)
    RETURNING 1
), opened AS (
    INSERT INTO generation_attempts
        (job_id, number, token, runtime, charge_state, provider, model)
    SELECT %(id)s, attempt, lease_token, %(runtime)s,
        CASE WHEN provider = ANY(%(later)s::text[]) THEN 'none' ELSE %(open_charge)s END, provider, model
    FROM claimed
    -- After `closed`, as a job has one open attempt at most.
    WHERE (SELECT count(*) FROM closed) >= 0
)
SELECT job.status, job.task_id, job.params, job.max_attempts, claimed.attempt,
    claimed.lease_token, claimed.provider, claimed.model,
    least(
        coalesce(own.cost_per_day, %(cost_per_day)s) - coalesce(spent.today, 0),
        coalesce(own.cost_per_month, %(cost_per_month)s) - coalesce(spent.this_month, 0)
    )::bigint AS budget_left,
    extract(epoch FROM job.next_attempt_at - now())::float AS due_in,
    job.source_asset_id, job.reference_asset_ids, job.mask_asset_id, job.traceparent, job.request_id, job.start_by <= now() AS is_late, EXISTS (SELECT FROM paused) AS is_paused
FROM generation_jobs job LEFT JOIN claimed ON true
    LEFT JOIN workspace_limits own ON own.workspace_id = job.workspace_id
    LEFT JOIN workspace_spent spent ON spent.workspace_id = job.workspace_id
WHERE job.id = %(id)s

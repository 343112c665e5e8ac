"""The rows of jobs as their workers see them: claimed, kept, finished; every write fenced.

Claim and endings are one statement each (a data-modifying CTE), and so one round trip and one
commit. All times are the database's.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import execute, fetch_all, fetch_one
from shared.errors import LeaseLost, UnknownJob, WorkerLost
from shared.jobs.model import Claim, ClaimRefused, EarlierCalls, LedgerFacts
from shared.status import COMPLETED, STARTING, JobStatus, Step

# One who finds an expired lease takes over, unless the job was cancelled, has no attempt left
# or ran into its time limit: then the sweep ends it. A lease that a dead worker held closes
# first (`count(*)`), as a job has one open attempt at most.
_CLAIM = """
    WITH claimed AS (
        UPDATE generation_jobs SET
            status = 'PROCESSING', progress = %(progress)s, message = %(message)s,
            attempt = attempt + 1, lease_token = lease_token + 1, lease_owner = %(owner)s,
            lease_until = now() + make_interval(secs => %(lease_seconds)s),
            time_limit_at = now() + make_interval(secs => %(time_limit)s),
            started_at = coalesce(started_at, now()), next_attempt_at = NULL, error = NULL
        WHERE id = %(id)s AND attempt < max_attempts AND cancel_requested_at IS NULL
            AND (status = 'PENDING' AND (next_attempt_at IS NULL OR next_attempt_at <= now())
                OR status = 'PROCESSING' AND lease_until < now() AND lease_until < time_limit_at)
        RETURNING attempt, lease_token
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
        SELECT %(id)s, attempt, lease_token, %(runtime)s, 'unknown', %(provider)s, %(model)s
        FROM claimed
        WHERE (SELECT count(*) FROM closed) >= 0
    )
    SELECT job.status, job.task_id, job.params, job.max_attempts, claimed.attempt,
        claimed.lease_token, extract(epoch FROM job.next_attempt_at - now())::float AS due_in,
        job.source_asset_id
    FROM generation_jobs job LEFT JOIN claimed ON true
    WHERE job.id = %(id)s
"""

_EARLIER_CALLS = """
    SELECT count(*) FILTER (WHERE charge_state = 'unknown') AS unknown_calls,
        coalesce(sum(price_microdollars), 0)::bigint AS spent
    FROM generation_attempts
    WHERE job_id = %(id)s AND number < %(attempt)s
"""

# The key is the row's: assets are the shop's own table, too.
_FIND_SOURCE = "SELECT storage_key FROM assets WHERE id = %(asset_id)s"

_EXTEND = """
    UPDATE generation_jobs job SET
        lease_until = least(now() + make_interval(secs => %(lease_seconds)s), time_limit_at),
        progress = kept.progress, message = kept.message
    FROM jsonb_to_recordset(%(kept)s)
        AS kept (id uuid, token bigint, progress int, message text)
    WHERE job.id = kept.id AND job.lease_token = kept.token AND job.status = 'PROCESSING'
    RETURNING job.id, job.lease_token, job.cancel_requested_at IS NOT NULL AS is_cancelled
"""

_LEDGER_COLUMNS = """
    charge_state = %(charge_state)s, provider_request_id = %(request_id)s,
    units = %(units)s, price_microdollars = %(price_microdollars)s
"""

_COMPLETE = f"""
    WITH ended AS (
        UPDATE generation_jobs SET
            status = 'COMPLETED', progress = %(progress)s, message = %(message)s,
            result = %(result)s, error = NULL, finished_at = now(),
            lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
        WHERE id = %(id)s AND lease_token = %(token)s AND status = 'PROCESSING'
        RETURNING finished_at
    ), closed AS (
        UPDATE generation_attempts SET
            finished_at = now(), outcome = 'completed', error = %(error)s,
            {_LEDGER_COLUMNS}
        WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM ended)
    ), kept AS (
        INSERT INTO images (id, job_id, position, url, storage_key, media_type, width_px,
            height_px, size_bytes, sha256, seed, provider, model)
        SELECT id, %(id)s, position, url, storage_key, media_type, width_px, height_px,
            size_bytes, sha256, seed, provider, model
        FROM jsonb_to_recordset(%(images)s) AS image (id uuid, position int, url text,
            storage_key text, media_type text, width_px int, height_px int, size_bytes bigint,
            sha256 text, seed bigint, provider text, model text)
        WHERE EXISTS (SELECT FROM ended)
    )
"""

_FAIL = f"""
    WITH ended AS (
        UPDATE generation_jobs SET
            status = 'FAILED', progress = %(progress)s, message = %(message)s,
            error = %(error)s, finished_at = now(), next_attempt_at = NULL,
            lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
        WHERE id = %(id)s AND lease_token = %(token)s AND status = 'PROCESSING'
        RETURNING finished_at
    ), closed AS (
        UPDATE generation_attempts SET
            finished_at = now(), outcome = 'failed', error = %(error)s,
            {_LEDGER_COLUMNS}
        WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM ended)
    )
"""

# The envelope of the next attempt counts as dispatched for when it is due: the runtime delays
# the one it holds, and the sweep sends another if that is lost.
_RETRY = f"""
    WITH ended AS (
        UPDATE generation_jobs SET
            status = 'PENDING', progress = %(progress)s, message = %(message)s,
            error = %(error)s, next_attempt_at = now() + make_interval(secs => %(delay)s),
            dispatched_at = now() + make_interval(secs => %(delay)s), dispatches = 1,
            lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
        WHERE id = %(id)s AND lease_token = %(token)s AND status = 'PROCESSING'
            AND cancel_requested_at IS NULL
        RETURNING next_attempt_at AS finished_at
    ), closed AS (
        UPDATE generation_attempts SET
            finished_at = now(), outcome = 'failed', error = %(error)s,
            {_LEDGER_COLUMNS}
        WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM ended)
    )
"""

# Whoever repeats an ending whose answer was lost finds it done: same token, status reached.
_ENDED_OR_DONE_BEFORE = """
    SELECT finished_at FROM ended
    UNION ALL
    SELECT coalesce(finished_at, next_attempt_at) FROM generation_jobs
    WHERE id = %(id)s AND lease_token = %(token)s AND status = %(reached)s
"""

_RELEASE = """
    WITH released AS (
        UPDATE generation_jobs SET
            status = 'PENDING', progress = %(progress)s, message = %(message)s,
            attempt = attempt - 1, dispatched_at = NULL,
            started_at = CASE WHEN attempt > 1 THEN started_at END,
            lease_until = NULL, lease_owner = NULL, time_limit_at = NULL
        WHERE id = %(id)s AND lease_token = %(token)s AND status = 'PROCESSING'
            AND cancel_requested_at IS NULL
        RETURNING id
    )
    DELETE FROM generation_attempts
    WHERE job_id = %(id)s AND token = %(token)s AND EXISTS (SELECT FROM released)
"""

_GIVE_UP = """
    UPDATE generation_jobs SET lease_until = now() - interval '1 microsecond'
    WHERE id = %(id)s AND lease_token = %(token)s AND status = 'PROCESSING'
"""


@dataclass(frozen=True, slots=True)
class KeptLease:
    """A lease to be extended, with what the row shall show until then."""

    job_id: UUID
    token: int
    step: Step


class AttemptStore:
    """Claims jobs and writes what their attempts come to; each method is one statement.

    Args:
        runtime: `celery` or `lambda`, for the ledger.
        owner: Who holds the leases, as `host:pid`.
        lease_seconds: How long a lease lasts without extension.
        time_limit_seconds: No lease outlasts the attempt's start by more.
        provider: Who will be called, for the ledger.
        model: Which of the provider's models.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached; each may then be
    repeated, and does nothing if it had taken effect.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        runtime: str,
        owner: str,
        lease_seconds: float,
        time_limit_seconds: float,
        provider: str | None = None,
        model: str | None = None,
    ) -> None:
        self._engine = engine
        self._lease_seconds = lease_seconds
        self._claim_parameters = {
            "runtime": runtime,
            "owner": owner,
            "lease_seconds": lease_seconds,
            "time_limit": time_limit_seconds,
            "provider": provider,
            "model": model,
            "progress": STARTING.progress,
            "message": STARTING.message,
            "lost": json.dumps({"code": WorkerLost.code, "retryable": WorkerLost.retryable}),
            "lost_message": WorkerLost.MESSAGE,
        }

    def claim(self, job_id: UUID) -> Claim | ClaimRefused:
        """Take the lease and open the next attempt, if the job may run now.

        Raises:
            UnknownJob: There is no such row.
        """
        row = fetch_one(self._engine, _CLAIM, {**self._claim_parameters, "id": str(job_id)})
        if row is None:
            raise UnknownJob(job_id)
        if row.lease_token is None:
            return _refusal(JobStatus[row.status], row.due_in or 0.0)
        return Claim(
            job_id,
            row.task_id,
            row.params,
            row.attempt,
            row.max_attempts,
            row.lease_token,
            None if row.source_asset_id is None else UUID(str(row.source_asset_id)),
        )

    def earlier_calls(self, claim: Claim) -> EarlierCalls:
        """Return what the attempts before this one may have cost; their lines are closed."""
        if claim.attempt == 1:
            return EarlierCalls()
        keys = {"id": str(claim.job_id), "attempt": claim.attempt}
        row = fetch_one(self._engine, _EARLIER_CALLS, keys)
        return EarlierCalls() if row is None else EarlierCalls(row.unknown_calls, row.spent)

    def source_key(self, claim: Claim) -> str | None:
        """Return where the picture lies that the images shall show; None if there is none."""
        if claim.source_asset_id is None:
            return None
        row = fetch_one(self._engine, _FIND_SOURCE, {"asset_id": str(claim.source_asset_id)})
        return None if row is None else str(row.storage_key)

    def extend(self, leases: Iterable[KeptLease]) -> dict[tuple[UUID, int], bool]:
        """Extend leases; return those still held, by job and token: is the job cancelled?"""
        kept = [
            {
                "id": str(lease.job_id),
                "token": lease.token,
                "progress": lease.step.progress,
                "message": lease.step.message,
            }
            for lease in leases
        ]
        parameters = {"lease_seconds": self._lease_seconds, "kept": json.dumps(kept)}
        rows = fetch_all(self._engine, _EXTEND, parameters)
        return {(UUID(str(row.id)), row.lease_token): row.is_cancelled for row in rows}

    def complete(
        self,
        claim: Claim,
        images: Sequence[Mapping[str, Any]],
        result: Mapping[str, Any],
        facts: LedgerFacts,
        error: Mapping[str, Any] | None = None,
    ) -> datetime:
        """Write the rows of the images and COMPLETED, all or nothing; return the end.

        Args:
            claim: Names the job and the token.
            images: The columns of each row of `images`, but for the job's.
            result: What clients see of them.
            facts: What is known of the provider's bill.
            error: Why this last attempt did not bring the images that are missing.

        Raises:
            LeaseLost: Another has taken the job over, or ended it.
        """
        parameters = {
            "progress": COMPLETED.progress,
            "message": COMPLETED.message,
            "result": json.dumps(result),
            "images": json.dumps(images),
            **facts.as_parameters(),
            "error": None if error is None else json.dumps(error),
        }
        return self._end(_COMPLETE, claim, "COMPLETED", parameters)

    def fail(
        self, claim: Claim, step: Step, error: Mapping[str, Any], facts: LedgerFacts
    ) -> datetime:
        """Write FAILED and its reason; return the end.

        Raises:
            LeaseLost: Another has taken the job over, or ended it.
        """
        parameters = {
            "progress": step.progress,
            "message": step.message,
            "error": json.dumps(error),
            **facts.as_parameters(),
        }
        return self._end(_FAIL, claim, "FAILED", parameters)

    def retry(
        self,
        claim: Claim,
        step: Step,
        error: Mapping[str, Any],
        facts: LedgerFacts,
        delay_seconds: float,
    ) -> None:
        """Let the job wait for its next attempt.

        Raises:
            LeaseLost: Another has taken the job over, or ended it; or it was cancelled.
        """
        parameters = {
            "progress": step.progress,
            "message": step.message,
            "error": json.dumps(error),
            **facts.as_parameters(),
            "delay": delay_seconds,
        }
        self._end(_RETRY, claim, "PENDING", parameters)

    def release(self, claim: Claim, step: Step) -> bool:
        """Undo a claim whose provider call was not sent; False if lost or cancelled meanwhile."""
        parameters = {
            "id": str(claim.job_id),
            "token": claim.token,
            "progress": step.progress,
            "message": step.message,
        }
        return execute(self._engine, _RELEASE, parameters) > 0

    def give_up(self, claim: Claim) -> None:
        """Let the lease run out now: whoever comes next takes over with the next attempt."""
        execute(self._engine, _GIVE_UP, {"id": str(claim.job_id), "token": claim.token})

    def _end(
        self, statement: str, claim: Claim, reached: str, parameters: Mapping[str, Any]
    ) -> datetime:
        keys = {"id": str(claim.job_id), "token": claim.token, "reached": reached}
        row = fetch_one(self._engine, statement + _ENDED_OR_DONE_BEFORE, {**keys, **parameters})
        if row is None:
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} lost its lease")
        ended_at: datetime = row.finished_at
        return ended_at


def _refusal(status: JobStatus, due_in_seconds: float) -> ClaimRefused:
    if status.is_terminal:
        return ClaimRefused("ended")
    if status is JobStatus.PENDING and due_in_seconds > 0:
        return ClaimRefused("not_due", due_in_seconds)
    return ClaimRefused("running")

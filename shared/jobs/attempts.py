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

from shared.database.statements import SqlFiles, execute, fetch_all, fetch_one
from shared.errors import LeaseLost, UnknownJob, WorkerLost
from shared.jobs.model import Claim, ClaimRefused, EarlierCalls, LedgerFacts
from shared.status import COMPLETED, STARTING, JobStatus, Step

_SQL = SqlFiles(__file__)


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
        row = fetch_one(self._engine, _SQL["claim"], {**self._claim_parameters, "id": str(job_id)})
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
        row = fetch_one(self._engine, _SQL["earlier_calls"], keys)
        return EarlierCalls() if row is None else EarlierCalls(row.unknown_calls, row.spent)

    def source_key(self, claim: Claim) -> str | None:
        """Return where the picture lies that the images shall show; None if there is none."""
        if claim.source_asset_id is None:
            return None
        row = fetch_one(self._engine, _SQL["find_source"], {"asset_id": str(claim.source_asset_id)})
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
        rows = fetch_all(self._engine, _SQL["extend_leases"], parameters)
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
        return self._end("complete", claim, parameters)

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
        return self._end("fail", claim, parameters)

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
        self._end("retry", claim, parameters)

    def release(self, claim: Claim, step: Step) -> bool:
        """Undo a claim whose provider call was not sent; False if lost or cancelled meanwhile."""
        parameters = {
            "id": str(claim.job_id),
            "token": claim.token,
            "progress": step.progress,
            "message": step.message,
        }
        return execute(self._engine, _SQL["release"], parameters) > 0

    def give_up(self, claim: Claim) -> None:
        """Let the lease run out now: whoever comes next takes over with the next attempt."""
        execute(self._engine, _SQL["give_up"], {"id": str(claim.job_id), "token": claim.token})

    def _end(self, name: str, claim: Claim, parameters: Mapping[str, Any]) -> datetime:
        keys = {"id": str(claim.job_id), "token": claim.token}
        row = fetch_one(self._engine, _SQL[name], {**keys, **parameters})
        if row is None:
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} lost its lease")
        ended_at: datetime = row[0]
        return ended_at


def _refusal(status: JobStatus, due_in_seconds: float) -> ClaimRefused:
    if status.is_terminal:
        return ClaimRefused("ended")
    if status is JobStatus.PENDING and due_in_seconds > 0:
        return ClaimRefused("not_due", due_in_seconds)
    return ClaimRefused("running")

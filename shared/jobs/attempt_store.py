"""The rows of jobs as their workers see them: claimed, kept, finished; every write fenced."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import LeaseLost, UnknownJob, WorkerLost
from shared.jobs.model import Claim, ClaimRefused, EarlierCalls, LedgerFacts, ending_of
from shared.status import COMPLETED, STARTING, Ending, JobStatus, Step


@dataclass(frozen=True, slots=True)
class KeptLease:
    """A lease to extend, with the step that the row shows until the next extension."""

    job_id: UUID
    token: int
    step: Step


class AttemptStore:
    """Claims jobs and writes the results of their attempts; each method is one statement.

    Args:
        runtime: `celery` or `lambda`, for the ledger.
        owner: The process that holds the leases, as `host:pid`.
        lease_seconds: How long a lease lasts without extension.
        time_limit_seconds: No lease lasts longer after the attempt's start.
        provider: Who is called, for the ledger.
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
        self._run = Statements(engine, __file__)
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
        rows = self._run("claim", {**self._claim_parameters, "id": str(job_id)})
        if not rows:
            raise UnknownJob(job_id)
        row = rows[0]
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
        [row] = self._run("earlier_calls", {"id": str(claim.job_id), "attempt": claim.attempt})
        return EarlierCalls(row.unknown_calls, row.spent)

    def source_key(self, asset_id: UUID) -> str | None:
        """Return where the bytes of an asset are stored; None if it does not exist."""
        rows = self._run("find_source", {"asset_id": str(asset_id)})
        return str(rows[0].storage_key) if rows else None

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
        rows = self._run("extend_leases", parameters)
        return {(UUID(str(row.id)), row.lease_token): row.is_cancelled for row in rows}

    def complete(
        self,
        claim: Claim,
        images: Sequence[Mapping[str, Any]],
        result: Mapping[str, Any],
        facts: LedgerFacts,
        error: Mapping[str, Any] | None = None,
    ) -> Ending:
        """Write the rows of the images and COMPLETED, all or nothing.

        Args:
            claim: Names the job and the token.
            images: The columns of each row of `images`, except the job's id.
            result: What clients see of them.
            facts: What is known of the provider's bill.
            error: Why this last attempt did not make the images that are missing.

        Raises:
            LeaseLost: Another attempt has taken the job over, or it has ended.
        """
        written = {"result": json.dumps(result), "images": json.dumps(images)}
        ended_at = self._end("complete", claim, COMPLETED, facts, error, written)
        return ending_of(
            claim.job_id, claim.task_id, claim.token, COMPLETED, ended_at, result=result
        )

    def fail(
        self, claim: Claim, step: Step, error: Mapping[str, Any], facts: LedgerFacts
    ) -> Ending:
        """Write FAILED and its reason.

        Raises:
            LeaseLost: Another attempt has taken the job over, or it has ended.
        """
        ended_at = self._end("fail", claim, step, facts, error, {})
        return ending_of(claim.job_id, claim.task_id, claim.token, step, ended_at, error=error)

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
            LeaseLost: Another attempt has taken the job over, or it has ended or was cancelled.
        """
        self._end("retry", claim, step, facts, error, {"delay": delay_seconds})

    def release(self, claim: Claim, step: Step) -> bool:
        """Undo a claim whose provider was not called; False if lost or cancelled meanwhile."""
        shown = {"progress": step.progress, "message": step.message}
        return bool(self._run("release", _keys(claim) | shown))

    def give_up(self, claim: Claim) -> None:
        """Let the lease run out now: the next delivery takes over with the next attempt."""
        self._run("give_up", _keys(claim))

    def _end(
        self,
        statement: str,
        claim: Claim,
        step: Step,
        facts: LedgerFacts,
        error: Mapping[str, Any] | None,
        others: Mapping[str, Any],
    ) -> datetime:
        parameters = {
            **_keys(claim),
            "progress": step.progress,
            "message": step.message,
            "error": None if error is None else json.dumps(error),
            "charge_state": facts.charge_state,
            "request_id": facts.request_id,
            "units": None if facts.units is None else json.dumps(facts.units),
            "price_microdollars": facts.price_microdollars,
            **others,
        }
        rows = self._run(statement, parameters)
        if not rows:
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} lost its lease")
        ended_at: datetime = rows[0][0]
        return ended_at


def _keys(claim: Claim) -> dict[str, Any]:
    return {"id": str(claim.job_id), "token": claim.token}


def _refusal(status: JobStatus, due_in_seconds: float) -> ClaimRefused:
    if status.is_terminal:
        return ClaimRefused("ended")
    if status is JobStatus.PENDING and due_in_seconds > 0:
        return ClaimRefused("not_due", due_in_seconds)
    return ClaimRefused("running")

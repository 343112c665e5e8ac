"""The rows of jobs as their workers see them: claimed, kept, finished; every write fenced."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import InvalidRequest, LeaseLost, UnknownJob, WorkerLost
from shared.jobs.model import (
    BoughtImage,
    Claim,
    ClaimRefused,
    EarlierCalls,
    LedgerFacts,
    OpenBill,
    ending_of,
)
from shared.jobs.workspace_limits import UNLIMITED, Budget
from shared.status import COMPLETED, STARTING, Ending, JobStatus, Step


@dataclass(frozen=True, slots=True)
class KeptLease:
    """A lease to extend, with the step that the row shows until the next extension."""

    job_id: UUID
    token: int
    step: Step


@dataclass(frozen=True, slots=True)
class StoredPreview:
    """What an image of a running attempt looks like so far: where it lies, and what it is."""

    position: int
    storage_key: str
    media_type: str
    width_px: int
    height_px: int


class AttemptStore:
    """Claims jobs and writes the results of their attempts; each method is one statement.

    Args:
        runtime: `celery` or `lambda`, for the ledger.
        owner: The process that holds the leases, as `host:pid`.
        lease_seconds: How long a lease lasts without extension.
        time_limit_seconds: No lease lasts longer after the attempt's start.
        models: The provider of each model, by the names of both; the default model first.
        later: The providers whose purchases are noted before each is sent.
        open_charge: What the ledger says of a call while it is open, and if it never ends.
        budget: What a workspace without a budget of its own may spend.

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
        models: Mapping[str, str] | None = None,
        later: Sequence[str] = (),
        open_charge: str = "unknown",
        budget: Budget = UNLIMITED,
    ) -> None:
        self._run = Statements(engine, __file__)
        self._lease_seconds = lease_seconds
        self._time_limit_seconds = time_limit_seconds
        # An attempt that is extended so late before its time limit has reached it.
        self.last_seconds = min(lease_seconds / 4, 3.0)
        model, provider = next(iter((models or {}).items()), (None, None))
        self._claim_parameters = {
            "runtime": runtime,
            "owner": owner,
            "lease_seconds": lease_seconds,
            "models": json.dumps(models or {}),
            "provider": provider,
            "model": model,
            "later": list(later),
            "open_charge": open_charge,
            "progress": STARTING.progress,
            "message": STARTING.message,
            "lost": json.dumps({"code": WorkerLost.code, "retryable": WorkerLost.retryable}),
            "lost_message": WorkerLost.MESSAGE,
            **asdict(budget),
        }

    def claim(self, job_id: UUID, kill_seconds: float = math.inf) -> Claim | ClaimRefused:
        """Take the lease and open the next attempt, if the job may run now.

        Args:
            job_id: Of the job.
            kill_seconds: When the runtime kills this process, if that is before the time limit.

        Raises:
            UnknownJob: There is no such row.
        """
        time_limit_seconds = min(self._time_limit_seconds, kill_seconds)
        parameters = {"id": str(job_id), "time_limit": time_limit_seconds}
        rows = self._run("claim", {**self._claim_parameters, **parameters})
        if not rows:
            raise UnknownJob(job_id)
        row = rows[0]
        if row.lease_token is None:
            refused = _refusal(row)
            if refused.reason == "paused":
                # Its envelope is used up: it is released anew when the pause is over.
                self._run("withdraw_job", {"id": str(job_id)})
            return refused
        return Claim(
            job_id,
            row.task_id,
            row.params,
            row.attempt,
            row.max_attempts,
            row.lease_token,
            tuple(filter(None, (row.source_asset_id, *(row.reference_asset_ids or ())))),
            row.mask_asset_id,
            time_limit_seconds,
            row.model,
            row.traceparent,
            row.request_id,
            row.budget_left,
            row.provider,
        )

    def earlier_calls(self, claim: Claim) -> EarlierCalls:
        """Return what the attempts before this one may have cost; their lines are closed."""
        [row] = self._run("earlier_calls", {"id": str(claim.job_id), "attempt": claim.attempt})
        bought = tuple(_bought_of(*each) for each in (row.purchases or {}).items())
        return EarlierCalls(row.unknown_calls, row.spent, row.last_known, bought, row.is_billed)

    def picture_keys(self, claim: Claim) -> list[str]:
        """Return where the bytes of the job's pictures are stored, those of its mask at the end.

        Raises:
            InvalidRequest: One of them is no asset of the job's workspace, or not any more.
        """
        asked = [*claim.picture_ids, *filter(None, [claim.mask_asset_id])]
        rows = self._run("find_pictures", {"id": str(claim.job_id), "ids": [*map(str, asked)]})
        keys = {row.id: str(row.storage_key) for row in rows}
        for asset_id in asked:
            if asset_id not in keys:
                raise InvalidRequest(f"reference_asset_ids: no asset {str(asset_id)!r}")
        return [keys[asset_id] for asset_id in asked]

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
        parameters = {
            "lease_seconds": self._lease_seconds,
            "last_seconds": self.last_seconds,
            "kept": json.dumps(kept),
        }
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
        others = {"result": json.dumps(result), "images": json.dumps(images)}
        ended_at = self._write("complete", claim, COMPLETED, facts, error, others)
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
        ended_at = self._write("fail", claim, step, facts, error, {})
        return ending_of(claim.job_id, claim.task_id, claim.token, step, ended_at, error=error)

    def retry(
        self,
        claim: Claim,
        step: Step,
        error: Mapping[str, Any],
        facts: LedgerFacts,
        delay_seconds: float,
        next_model: tuple[str, str] | None = None,
    ) -> None:
        """Let the job wait for its next attempt, with another provider and model if any is named.

        Raises:
            LeaseLost: Another attempt has taken the job over, or it has ended or was cancelled.
        """
        provider, model = next_model or (None, None)
        others = {"delay": delay_seconds, "next_provider": provider, "next_model": model}
        self._write("retry", claim, step, facts, error, others)

    def release(self, claim: Claim, step: Step) -> bool:
        """Undo a claim whose provider was not called; False if lost or cancelled meanwhile."""
        shown = {"progress": step.progress, "message": step.message}
        return bool(self._run("release", _keys(claim) | shown))

    def hold_provider(self, provider: str, seconds: float) -> None:
        """Let all jobs wait that need the provider, for so long."""
        self._run("hold_provider", {"provider": provider, "seconds": seconds})

    def give_up(self, claim: Claim) -> None:
        """Let the lease run out now: the next delivery takes over with the next attempt."""
        self._run("give_up", _keys(claim))

    def find_standing(self, claim: Claim) -> bool | None:
        """Return whether the job is to be cancelled; None if the attempt does not own it."""
        rows = self._run("find_standing", _keys(claim))
        return rows[0].is_cancelled if rows else None

    def note_overtaken(self, claim: Claim, facts: LedgerFacts) -> bool:
        """Note what an overtaken attempt knows of its bill; return whether its job still exists."""
        return bool(self._run("note_overtaken", _keys(claim) | _columns_of(facts)))

    def note_purchase(self, claim: Claim, purchase_id: UUID, position: int) -> None:
        """Note that an image is about to be bought; its bill is unknown from now on.

        Raises:
            LeaseLost: Another worker owns the job, or it has ended.
        """
        parameters = _keys(claim) | {"purchase": str(purchase_id), "position": position}
        if not self._run("note_purchase", parameters):
            raise _lease_lost(claim)

    def name_purchase(self, job_id: UUID, bought: BoughtImage) -> None:
        """Note what the provider calls a purchase, though the attempt may be overtaken."""
        parameters = {
            "id": str(job_id),
            "purchase": str(bought.id),
            "request_id": bought.request_id,
            "address": bought.address,
            "price": bought.price_microdollars,
        }
        self._run("name_purchase", parameters)

    def settle_purchase(
        self,
        job_id: UUID,
        purchase_id: UUID,
        charge_state: str,
        price_microdollars: int | None,
        *,
        stays_open: bool = False,
    ) -> None:
        """Note what a purchase has cost, whichever attempt it is of.

        Args:
            job_id: Its job.
            purchase_id: The purchase.
            charge_state: `none` or `charged`.
            price_microdollars: None where it is what the provider said before, if it did.
            stays_open: Its image may still be received.
        """
        facts: dict[str, Any] = {"charge_state": charge_state}
        if price_microdollars is not None:
            facts["price"] = price_microdollars
        if not stays_open:
            facts["is_closed"] = True
        parameters = {
            "id": str(job_id),
            "purchase": str(purchase_id),
            "facts": json.dumps(facts),
        }
        self._run("settle_purchase", parameters)

    def take_bills(self, pause_seconds: float, limit: int) -> list[OpenBill]:
        """Return purchases of ended jobs whose bill is not known; other processes leave them.

        Args:
            pause_seconds: How long each is left before it is taken again.
            limit: How many lines of the ledger are looked at.
        """
        later = self._claim_parameters["later"]
        parameters = {"later": later, "pause_seconds": pause_seconds, "limit": limit}
        rows = self._run("take_bills", parameters)
        return [
            OpenBill(
                UUID(str(row.job_id)), row.provider, row.model, _bought_of(row.purchase, row.bought)
            )
            for row in rows
        ]

    def note_preview(self, claim: Claim, preview: StoredPreview) -> None:
        """Show a preview while the attempt runs, in place of the one that its position had.

        Raises:
            LeaseLost: Another worker owns the job, or it has ended.
        """
        parameters = _keys(claim) | {"preview_id": str(uuid4())} | asdict(preview)
        if not self._run("note_preview", parameters):
            raise _lease_lost(claim)

    def forget_previews(self, claim: Claim) -> None:
        """Forget what this attempt had to show."""
        self._run("forget_previews", _keys(claim))

    def _write(
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
            **_columns_of(facts),
            **others,
        }
        rows = self._run(statement, parameters)
        if not rows:
            raise _lease_lost(claim)
        ended_at: datetime = rows[0][0]
        return ended_at


def _bought_of(purchase_id: str, entry: Mapping[str, Any]) -> BoughtImage:
    return BoughtImage(
        UUID(purchase_id),
        entry["position"],
        entry.get("request_id"),
        entry.get("address") or "",
        entry.get("price"),
    )


def _lease_lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} lost its lease")


def _keys(claim: Claim) -> dict[str, Any]:
    return {"id": str(claim.job_id), "token": claim.token}


def _columns_of(facts: LedgerFacts) -> dict[str, Any]:
    return asdict(facts) | {"units": None if facts.units is None else json.dumps(facts.units)}


def _refusal(row: Any) -> ClaimRefused:
    status, due_in_seconds = JobStatus[row.status], row.due_in or 0.0
    if status.is_terminal:
        return ClaimRefused("ended")
    if status is JobStatus.PROCESSING:
        return ClaimRefused("running")
    if due_in_seconds > 0:
        return ClaimRefused("not_due", due_in_seconds)
    # Of two claims at once, the second still reads the row as it was before the first.
    return ClaimRefused("paused" if row.is_paused else "late" if row.is_late else "running")

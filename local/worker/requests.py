"""How the parent process of a Celery worker learns that a child has died, or a task is revoked."""

from typing import Any
from uuid import UUID

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import Terminated, WorkerLostError
from celery.worker.request import Request
from structlog.contextvars import bound_contextvars

from local.worker.sweeping import DeadChild, Discarded, JobEnded, RejectedMessage, report
from shared.adapters.celery_broker import TASK_NAME
from shared.wiring import process_owner


class JobRequest(Request):  # type: ignore[misc] # Celery has no types
    """A job message in the worker: reports its child's death at once, not after the lease.

    The report is only put on a queue: the parent's event loop never waits for PostgreSQL.
    """

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """End the job when its child is killed at the hard limit."""
        with bound_contextvars(**self._ids()):
            super().on_timeout(soft, timeout)
        if not soft:
            self._report(at_time_limit=True)

    def on_success(self, *args: Any, **kwargs: Any) -> None:
        """Release the next job: a child is free, however its delivery ended."""
        super().on_success(*args, **kwargs)
        report(JobEnded())

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
        """Hand the job back when its child was killed or died."""
        with bound_contextvars(**self._ids()):
            super().on_failure(exc_info, *args, **kwargs)
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, (Terminated, WorkerLostError)):
            self._report(at_time_limit=False)
        elif isinstance(error, TypeError) and TASK_NAME in str(error):
            report(RejectedMessage(str(error), repr(self._payload[0])))

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Cancel the job whose message is revoked, or has expired; Celery discards the message."""
        super()._announce_revoked(reason, terminated, signum, expired)
        if job_id := self._job_id():
            report(Discarded(job_id, is_expired=expired))

    def _report(self, *, at_time_limit: bool) -> None:
        if job_id := self._job_id():
            report(DeadChild(job_id, process_owner(self.worker_pid), at_time_limit))

    def _job_id(self) -> UUID | None:
        try:
            return UUID(self._ids()["job_id"])
        except ValueError:
            return None

    def _ids(self) -> dict[str, str]:
        args = self._payload[0]
        return {"job_id": str(args[0]) if args else "", "task_id": self.id}

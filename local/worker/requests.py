"""How the parent process of a Celery worker learns that a child has died."""

from typing import Any
from uuid import UUID

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request
from structlog.contextvars import bound_contextvars

from local.worker.sweeping import DeadChild, JobEnded, report
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
        if isinstance(error, WorkerLostError):
            self._report(at_time_limit=False)

    def _report(self, *, at_time_limit: bool) -> None:
        try:
            job_id = UUID(self._ids()["job_id"])
        except ValueError:
            return
        report(DeadChild(job_id, process_owner(self.worker_pid), at_time_limit))

    def _ids(self) -> dict[str, str]:
        args = self._payload[0]
        return {"job_id": str(args[0]) if args else "", "task_id": self.id}

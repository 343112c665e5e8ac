"""The result backend of the Celery application: reads and waits, never writes.

The records have one writer, the fenced script of `shared.events`. Celery itself would write
over them when a child is killed, a task is revoked or a message comes twice.
"""

from typing import Any

from celery.backends.redis import RedisBackend


class ReadOnlyRedisBackend(RedisBackend):  # type: ignore[misc] # Celery has no types
    """Redis results for `AsyncResult` to read and wait for."""

    def store_result(self, _task_id: str, result: Any, _state: str, **_options: Any) -> Any:
        """Store nothing; return the result, as Celery expects."""
        return result

    def mark_as_revoked(
        self, task_id: str, reason: str = "", request: Any = None, **_options: Any
    ) -> None:
        """Cancel the job of a task or message that `revoke` names; called in each worker.

        Of a message that is discarded (`request`), `JobRequest` cancels the job.
        """
        if request is None:
            # A program that reads results runs no jobs, and needs none of this code.
            from local.worker.sweeping import Revoked, report

            report(Revoked(task_id))

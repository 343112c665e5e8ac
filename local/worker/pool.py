"""The children of a Celery worker: Celery's own pool, without two faults of 5.6.3.

Both leave a free child without work after the connection to Redis was lost, one of them until
the worker is restarted. Named by `local.celery_app`.
"""

from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

from local.worker import memory


class Children(AsynPool):  # type: ignore[misc] # Celery has no types
    """Knows which children are busy, and forgets those that died."""

    def flush(self) -> None:
        """Forget what was not begun when the connection was lost, but not who is at work.

        Celery forgets that too, and gives the next job to a busy child, behind its job of minutes
        (github.com/celery/celery/pull/10346).
        """
        super().flush()
        at_work = {
            job._write_to.inqW_fd
            for job in self._cache.values()
            if job._accepted and not job.ready() and job._write_to is not None
        }
        self._busy_workers.update(at_work & self._all_inqueues)

    def destroy_queues(self, queues: Any, proc: Any) -> Any:
        """Close the pipes of a dead child; their numbers may be those of the next one's.

        Celery goes on to read the numbers that it remembers of dead children. If one of them now
        is the pipe into a living child, nothing is written there after the next reconnect.
        """
        for index in (self._fileno_to_outq, self._fileno_to_synq):
            for number in [number for number, owner in index.items() if owner is proc]:
                del index[number]
        return super().destroy_queues(queues, proc)


class ChildrenPool(TaskPool):  # type: ignore[misc] # Celery has no types
    """Celery's prefork pool with these children, for the setting `worker_pool`."""

    Pool = Children

    def on_start(self) -> None:
        """Fork the children, which share what this process has imported."""
        memory.freeze()
        super().on_start()

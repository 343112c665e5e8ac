"""Celery programs that read results: one that knows this project, and one that does not."""

import os
from typing import Any
from unittest.mock import patch

from celery import Celery
from celery.result import AsyncResult

from shared.adapters.celery_broker import broker_url
from shared.jobs.model import Job
from shared.settings import Settings


class CeleryClients:
    """The project's own application, and a bare one that knows no more than Redis' address."""

    def __init__(self, settings: Settings) -> None:
        plain = Celery(backend=broker_url(settings.redis_url), set_as_current=False)
        plain.conf.result_backend_transport_options = {"global_keyprefix": settings.redis_prefix}
        self._apps = [_project_app(settings), plain]
        self._results: list[AsyncResult[Any]] = []

    def results(self, job: Job) -> "list[AsyncResult[Any]]":
        """Return what each client sees of the job, read anew."""
        results = [app.AsyncResult(job.task_id) for app in self._apps]
        self._results += results
        return results

    def close(self) -> None:
        """Close their connections."""
        for result in self._results:
            # Otherwise one that a traceback still holds connects again when it is deleted.
            result.backend = None
        for app in self._apps:
            app.backend.result_consumer.stop()
            app.backend.client.connection_pool.disconnect()
            app.close()


def _project_app(settings: Settings) -> Celery:
    # The module makes its application at import, from the environment, as Celery wants it.
    needed = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    with patch.dict(os.environ, needed):
        from local.celery_app import create_app
    return create_app(settings)

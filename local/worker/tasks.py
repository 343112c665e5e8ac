"""The Celery task: hands the job to the shared handler and leaves what follows to the row."""

import os
from functools import cache

import structlog
from celery.exceptions import Reject, SoftTimeLimitExceeded

from local.celery_app import celery_app
from local.worker.steps import is_stopping
from shared.adapters.celery_broker import TASK_NAME
from shared.deadline import Deadline, MainThreadInterrupt
from shared.errors import MalformedEnvelope, ServiceUnavailable, UnknownJob
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.wiring import Services

settings = celery_app.darkroom_settings
log = structlog.get_logger(__name__)

NET_RETRIES = 20
"""Retries of the net below the handler; after them the job is released anew."""


@celery_app.task(
    name=TASK_NAME,
    Request="local.worker.requests:JobRequest",
    autoretry_for=(ServiceUnavailable,),
    dont_autoretry_for=(SoftTimeLimitExceeded,),
    retry_backoff=settings.retry_backoff,
    retry_backoff_max=settings.retry_backoff_max,
    retry_jitter=True,
    # Takes over where the backoff is 0, which Celery takes for none; its own default is 180 s.
    default_retry_delay=1,
    max_retries=NET_RETRIES,
)
def generate_images_task(job_id: str) -> None:
    """Run one attempt of a job.

    ServiceUnavailable (PostgreSQL is unavailable at the claim) is retried by Celery; the handler
    decides everything later.
    """
    try:
        handler_of(os.getpid()).handle(job_id, Deadline(settings.soft_time_limit))
    except (UnknownJob, MalformedEnvelope) as error:
        log.error(  # noqa: TRY400 - what was sent is wrong, not the code
            "envelope rejected", code=error.code, reason=str(error)
        )
        raise Reject(str(error), requeue=False) from error
    except ServiceUnavailable as error:
        log.warning("delivered again", code=error.code, reason=str(error))
        raise
    except SoftTimeLimitExceeded:
        log.warning("soft limit struck outside an attempt", job_id=job_id)


@cache
def handler_of(_pid: int) -> GenerationHandler:
    """Make the handler of a process after its fork, which shares no connection."""
    interrupt = MainThreadInterrupt()
    interrupt.install()
    traits = RuntimeTraits((SoftTimeLimitExceeded,), is_stopping)
    return Services(settings, runtime="celery").build_handler(traits, interrupt)

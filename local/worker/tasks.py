"""The Celery task: hands the job to the shared handler and leaves what follows to the row."""

import os
from contextlib import suppress
from functools import cache

import structlog
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded

from local.celery_app import celery_app
from local.worker.steps import is_stopping
from shared.adapters.celery_broker import TASK_NAME
from shared.deadline import Deadline, MainThreadInterrupt
from shared.errors import JobFailed, MalformedEnvelope, ServiceUnavailable, UnknownJob
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.generation.outcome import Failed, Outcome, RetryAfter
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
    # An answer, and no error of the worker's.
    throws=(JobFailed,),
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
    decides everything later. A job that failed or waits for another attempt is shown as such.
    """
    try:
        outcome = handler_of(os.getpid()).handle(job_id, Deadline(settings.soft_time_limit))
    except (UnknownJob, MalformedEnvelope) as error:
        log.error(  # noqa: TRY400 - what was sent is wrong, not the code
            "envelope rejected", code=error.code, reason=str(error)
        )
        with suppress(ServiceUnavailable):
            services_of(os.getpid()).rejected.note(error, str(job_id))
        raise Reject(str(error), requeue=False) from error
    except ServiceUnavailable as error:
        log.warning("delivered again", code=error.code, reason=str(error))
        raise
    except SoftTimeLimitExceeded:
        log.warning("soft limit struck outside an attempt", job_id=job_id)
    else:
        _show(outcome)


def _show(outcome: Outcome) -> None:
    """Have Celery show how the delivery ended: in its events, and so in Flower.

    Raises:
        JobFailed: The job has failed.
        Retry: The job waits in its row. Nothing is sent.
    """
    if is_stopping():
        # A pool that stops may leave a long result half read (celery/concurrency/asynpool.py,
        # `process_flush_queues`), and an exception is one: its child then waits for 30 s.
        return
    if isinstance(outcome, Failed):
        raise JobFailed(outcome.code, outcome.message)
    if isinstance(outcome, RetryAfter):
        raise Retry(when=outcome.seconds)


@cache
def handler_of(pid: int) -> GenerationHandler:
    """Make the handler of a process after its fork, which shares no connection."""
    interrupt = MainThreadInterrupt()
    interrupt.install()
    traits = RuntimeTraits((SoftTimeLimitExceeded,), is_stopping)
    return services_of(pid).build_handler(traits, interrupt)


@cache
def services_of(_pid: int) -> Services:
    """Make the services of a process after its fork."""
    return Services(settings, runtime="celery")

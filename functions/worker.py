"""AWS Lambda entry: runs the jobs that SQS delivers, or one that is named directly.

Handler `functions.worker.handler`. An SQS event is answered with the records to be delivered
again (partial batch response); a direct invocation `{"job_id": ...}` with the outcome.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from functions import foreign_events
from functions.container import build_container
from functions.lambda_context import LambdaContext
from shared import tracing
from shared.adapters.sqs_queue import ALARM
from shared.deadline import Deadline
from shared.errors import (
    MalformedEnvelope,
    ServiceUnavailable,
    SoftTimeLimitReached,
    UnknownJob,
)
from shared.generation.outcome import NothingToDo, Outcome, RetryAfter

log = structlog.get_logger(__name__)

container = build_container()
jobs = container.handler  # Made now, so that wrong settings end the start and not a job.
_net = container.settings.retry_policy


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run what the event names, then release what may start next.

    Raises:
        MalformedEnvelope: A direct invocation that names no job.
        UnknownJob: A direct invocation for a job that has no row.
    """
    if not foreign_events.is_envelope(event):
        return foreign_events.reject(event)
    try:
        if "Records" not in event:
            job_id = _job_id_of(event)
            return {"job_id": job_id, "outcome": _run(job_id, context).name}
        failed = [
            {"itemIdentifier": record["messageId"]}
            for record in event["Records"]
            if not _is_done(record, context)
        ]
        return {"batchItemFailures": failed}
    finally:
        is_alarm = any(record["body"] == ALARM for record in event.get("Records", ()))
        container.services.releaser.release_or_leave(in_batches=not is_alarm)
        tracing.flush()


def _is_done(record: Mapping[str, Any], context: LambdaContext) -> bool:
    """Process one record; False has SQS deliver it again."""
    if _soft_limit_seconds(context) < container.settings.soft_time_limit / 2:
        # A later record of a batch: too late in this invocation for an attempt of its own.
        return _deliver_again(record, 0)
    try:
        if record["body"] != ALARM:
            outcome = _run(_job_id_of(_parse(record["body"])), context)
            if not isinstance(outcome, RetryAfter):
                return True
        _set_alarm()
    except (UnknownJob, MalformedEnvelope) as error:
        # Delivered at once until the queue's limit, then kept among the dead letters.
        log.error(  # noqa: TRY400 - what was sent is wrong, not the code
            "envelope rejected", code=error.code, reason=str(error)
        )
        if _receive_count(record) == 1:
            with suppress(ServiceUnavailable):
                container.services.rejected.note(error, record["body"])
        return _deliver_again(record, 0)
    except ServiceUnavailable as error:
        log.warning("delivered again", code=error.code, reason=str(error))
        return _deliver_again(record, _net.delay_seconds(_receive_count(record)))
    except Exception:  # One broken record must not fail its whole batch.
        log.exception("record failed")
        return False
    return True


def _set_alarm() -> None:
    """Have this function wake when the next retry is due: Lambda has no timer of its own."""
    container.services.releaser.wake_for_retry(container.dispatcher.send_alarm)


def _run(job_id: str, context: LambdaContext) -> Outcome:
    limit_seconds = _soft_limit_seconds(context)
    try:
        with container.interrupt.after(limit_seconds, SoftTimeLimitReached(limit_seconds)):
            remaining_seconds = context.get_remaining_time_in_millis() / 1000
            return jobs.handle(job_id, Deadline(limit_seconds, kill_seconds=remaining_seconds))
    except SoftTimeLimitReached:
        log.warning("soft limit struck outside an attempt", job_id=job_id)
        return NothingToDo("left_to_sweep")


def _soft_limit_seconds(context: LambdaContext) -> float:
    """Return the soft limit: the setting, or less where the invocation ends before that.

    Half of what lies between the limits is kept for writing down the end.
    """
    settings = container.settings
    margin_seconds = (settings.time_limit - settings.soft_time_limit) / 2
    remaining_seconds = context.get_remaining_time_in_millis() / 1000
    return min(settings.soft_time_limit, max(0.0, remaining_seconds - margin_seconds))


def _parse(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise MalformedEnvelope("the body is not JSON") from None


def _job_id_of(envelope: Any) -> str:
    job_id = envelope.get("job_id") if isinstance(envelope, Mapping) else None
    if not isinstance(job_id, str):
        raise MalformedEnvelope('an envelope is {"job_id": "..."}')
    return job_id


def _receive_count(record: Mapping[str, Any]) -> int:
    return int(record["attributes"]["ApproximateReceiveCount"])


def _deliver_again(record: Mapping[str, Any], delay_seconds: float) -> bool:
    try:
        container.dispatcher.redeliver(record["receiptHandle"], delay_seconds)
    except ServiceUnavailable as error:
        log.warning("redelivery left to the queue and the sweep", reason=str(error))
    return False

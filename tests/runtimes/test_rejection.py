"""Where messages end up that are not ours: Celery has no dead letters, SQS keeps them."""

import json
from uuid import uuid4

from tests.support.queues import BROKEN_BODIES, CeleryQueue, SqsQueue
from tests.support.runtime import Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until


def test_celery_rejects_each_message_with_a_line_and_keeps_none(celery_runtime: Runtime) -> None:
    """What is no JSON, no message, no call of the task: one line each, none given back."""
    queue = celery_runtime.queue
    assert isinstance(queue, CeleryQueue)
    logged, left_by_others = len(celery_runtime.log_lines()), queue.length()
    sent = queue.send_garbage()
    assert outcomes(celery_runtime.finish(celery_runtime.submit("a mug"))) == ["completed"]
    wait_until(lambda: queue.length() <= left_by_others, 20, "the queue to be empty")
    lines = celery_runtime.log_lines()[logged:]
    complaints = [line for line in lines if line["level"] in ("error", "critical")]
    # A child that a test before has killed may only be missed now.
    complaints = [line for line in complaints if "exited with 'signal" not in str(line["event"])]
    assert len(complaints) == sent


def test_sqs_moves_what_cannot_be_handled_to_the_dead_letters(
    lambda_runtime: Runtime,
) -> None:
    """Broken bodies and an unknown job's envelope, after as many deliveries as the queue grants."""
    queue = lambda_runtime.queue
    assert isinstance(queue, SqsQueue)
    unknown = str(uuid4())
    queue.send_garbage()
    queue.send(unknown)
    expected = {*BROKEN_BODIES, json.dumps({"job_id": unknown})}
    found: set[str] = set()

    def all_are_dead() -> bool:
        found.update(queue.take_dead_letters())
        return expected <= found

    wait_until(all_are_dead, 30, "the queue to give up on them")


def test_envelope_of_a_job_that_fails_for_good_is_no_dead_letter(lambda_runtime: Runtime) -> None:
    """A failed job is an answer: its envelope is done with, and so are all before its retries."""
    queue = lambda_runtime.queue
    assert isinstance(queue, SqsQueue)
    left_by_others = queue.length()
    job = lambda_runtime.submit("a mug [[fail:3]]")
    lambda_runtime.finish(job)
    wait_until(lambda: queue.length() <= left_by_others, 30, "the envelope to be gone")
    assert [body for body in queue.take_dead_letters() if str(job.id) in body] == []

"""The Lambda entry of the worker, on real servers: batches, direct calls, limits, what it loads."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from devkit.lambda_host.event_source import sqs_event_of
from devkit.stack import EmbeddedRedis, EmbeddedSqs, Stack
from tests.support.channel import RedisClient
from tests.support.database import Database
from tests.support.foreign_events import FOREIGN_EVENTS
from tests.support.function_driver import ANSWER
from tests.support.wait import wait_until

PROJECT = Path(__file__).parents[2]
PLENTY_MS = 330_000
MARGIN_MS = 15_000
QUEUE_ARN = "arn:aws:sqs:us-east-1:1:jobs"

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def sqs(servers: Stack) -> Iterator[EmbeddedSqs]:
    """Give an SQS that this module has for itself."""
    with EmbeddedSqs(
        servers.folder / "sqs-of-functions", visibility_timeout_seconds=60
    ).running() as server:
        yield server


@pytest.fixture(scope="module")
def sandbox(
    database_url: str,
    servers: Stack,
    sqs: EmbeddedSqs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator["subprocess.Popen[str]"]:
    """Give a process that has the function loaded, as a warm sandbox does."""
    assert servers.redis is not None
    environment = {
        **os.environ,
        **sqs.environment,
        "DATABASE_URL": database_url,
        "REDIS_URL": servers.redis.url,
        "IMAGE_DIR": str(tmp_path_factory.mktemp("images")),
        "MOCK_STEP_SECONDS": "0",
        "RETRY_BACKOFF": "0",
        "PYTHONPATH": str(PROJECT),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.function_driver", "functions.worker"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.fixture
def invoke(sandbox: "subprocess.Popen[str]", redis: RedisClient) -> Callable[..., Answer]:
    """Give what invokes the function."""

    def call(event: Any, remaining_ms: int = PLENTY_MS) -> Answer:
        assert sandbox.stdin is not None
        assert sandbox.stdout is not None
        sandbox.stdin.write(json.dumps({"event": event, "remaining_ms": remaining_ms}) + "\n")
        sandbox.stdin.flush()
        for line in sandbox.stdout:
            if line.startswith(ANSWER):
                answer: Answer = json.loads(line.removeprefix(ANSWER))
                return answer
        raise AssertionError("the function's process has ended")

    return call


@pytest.fixture
def receive(sqs: EmbeddedSqs) -> Iterator[Callable[..., Any]]:
    """Give what sends bodies and receives them, or what is visible, as Lambda's poller does."""
    client = sqs.client()
    handles: list[str] = []

    def take(*bodies: str) -> dict[str, Any]:
        for body in bodies:
            client.send_message(QueueUrl=sqs.queue_url, MessageBody=body)
        messages = client.receive_message(
            QueueUrl=sqs.queue_url, MaxNumberOfMessages=10, AttributeNames=["All"]
        ).get("Messages", [])
        handles.extend(message["ReceiptHandle"] for message in messages)
        return sqs_event_of(messages, QUEUE_ARN)

    yield take
    take()
    for handle in handles:
        client.delete_message(QueueUrl=sqs.queue_url, ReceiptHandle=handle)
    client.close()


def lambda_slots(database: Database) -> None:
    """Announce Lambda's slots, as the reaper does."""
    database.fetch(
        "DELETE FROM release_alarms; INSERT INTO workers (owner, runtime, slots, version,"
        " expires_at) VALUES ('lambda', 'lambda', 10, '0', now() + interval '1 hour')"
    )


def receive_any(receive: Callable[..., Any]) -> Callable[[], Any]:
    """Return what receives messages, or None while none is visible."""

    def take() -> Any:
        event = receive()
        return event if event["Records"] else None

    return take


def body(job_id: object) -> str:
    """Return an envelope."""
    return json.dumps({"job_id": str(job_id)})


def params(prompt: str) -> str:
    """Return the params of a small job."""
    return json.dumps({"prompt": prompt, "size": "256x256"})


def test_of_a_mixed_batch_only_the_bad_records_come_back(
    invoke: Callable[..., Answer], receive: Callable[..., Any], database: Database
) -> None:
    """At once, so that they soon lie among the dead letters; the good one is done."""
    job_id, _ = database.insert_job()
    good = body(job_id)
    bad = ["no json", "[]", "{}", '{"job_id": 7}', body("no id"), body(uuid4()), '{"job_id": null}']
    event = receive(*bad[:4], good, *bad[4:])
    assert len(event["Records"]) == 8
    answer = invoke(event)
    failed = {failure["itemIdentifier"] for failure in answer["result"]["batchItemFailures"]}
    assert failed == {r["messageId"] for r in event["Records"] if r["body"] != good}
    assert database.job(job_id)["status"] == "COMPLETED"
    assert database.attempts(job_id)[0]["runtime"] == "lambda"
    again = {record["body"] for record in receive()["Records"]}
    assert again == set(bad)


def test_a_duplicate_is_done_without_being_run(
    invoke: Callable[..., Answer], receive: Callable[..., Any], database: Database
) -> None:
    """Of an ended job, and of one that runs elsewhere."""
    ended, _ = database.insert_job()
    invoke({"job_id": str(ended)})
    running, _ = database.insert_job(
        status="PROCESSING", attempt=1, lease_owner="x", lease_until="2099-01-01Z",
        time_limit_at="2099-01-01Z",
    )  # fmt: skip
    before = database.job(ended), database.job(running)
    answer = invoke(receive(body(ended), body(running)))
    assert answer["result"] == {"batchItemFailures": []}
    assert (database.job(ended), database.job(running)) == before


def test_a_job_that_waits_for_its_next_attempt_waits_in_its_row(
    invoke: Callable[..., Answer], receive: Callable[..., Any], database: Database
) -> None:
    """Its message is done. One alarm, for the first of those that are due, starts it in time."""
    lambda_slots(database)
    first, _ = database.insert_job(params=params("[[rate-limit:1.2]] mug"))
    later, _ = database.insert_job(params=params("[[rate-limit:60]] mug"))
    event: Any = receive(body(first), body(later))
    assert invoke(event)["result"] == {"batchItemFailures": []}
    assert receive()["Records"] == []
    alarm = wait_until(receive_any(receive), 6, "the alarm")
    assert [record["body"] for record in alarm["Records"]] == ['{"release": true}']
    assert invoke(alarm)["result"] == {"batchItemFailures": []}
    envelope = wait_until(receive_any(receive), 5, "the envelope of the job that is due")
    assert [record["body"] for record in envelope["Records"]] == [body(first)]


def test_a_direct_call_answers_with_the_outcome(
    invoke: Callable[..., Answer], receive: Callable[..., Any], database: Database
) -> None:
    """A job that is due again at once gets an envelope."""
    lambda_slots(database)
    good, _ = database.insert_job()
    bad, _ = database.insert_job(params=params("[[reject]] mug"))
    retried, _ = database.insert_job(params=params("[[fail:1]] mug"))
    outcomes = [invoke({"job_id": str(job)})["result"]["outcome"] for job in (good, bad, retried)]
    assert outcomes == ["completed", "failed", "retry"]
    sent = [record["body"] for record in receive()["Records"]]
    assert sent[-1] == body(retried)


@pytest.mark.parametrize(("event", "source"), FOREIGN_EVENTS)
def test_an_event_that_is_not_ours_is_answered(
    invoke: Callable[..., Answer], event: Any, source: str
) -> None:
    """An error would count as one of the function, and AWS would send the event twice more."""
    assert invoke(event)["result"] == {"outcome": "rejected", "source": source}


@pytest.mark.parametrize("event", [{"job_id": 7}, {"job_id": "x"}, {"job_id": None}])
def test_a_direct_call_that_names_no_job_is_an_error(
    invoke: Callable[..., Answer], event: Any
) -> None:
    """The caller waits for an answer, and gets this one."""
    assert invoke(event)["error"] == "MalformedEnvelope"


def test_a_direct_call_for_an_unknown_job_is_an_error(invoke: Callable[..., Answer]) -> None:
    """As is the wrong id."""
    assert invoke({"job_id": str(uuid4())})["error"] == "UnknownJob"


def test_the_soft_limit_is_what_the_invocation_leaves(
    invoke: Callable[..., Answer], database: Database
) -> None:
    """Less what is needed to write down the end; the timer strikes in a call that ignores us."""
    job_id, _ = database.insert_job(params=params("[[hang]] mug"))
    answer = invoke({"job_id": str(job_id)}, remaining_ms=MARGIN_MS + 600)
    assert answer["result"]["outcome"] == "failed"
    error = database.job(job_id)["error"]
    assert error["code"] == "soft_time_limit"
    assert error["message"].startswith("Stopped at the soft time limit of 0.5")


def test_record_that_comes_too_late_in_an_invocation_is_delivered_again(
    invoke: Callable[..., Answer], receive: Callable[..., Any], database: Database
) -> None:
    """It keeps its attempt for a delivery that has the time for one."""
    job_id, _ = database.insert_job()
    answer = invoke(receive(body(job_id)), remaining_ms=MARGIN_MS + 100)
    assert len(answer["result"]["batchItemFailures"]) == 1
    assert database.job(job_id)["attempt"] == 0


def test_no_timer_is_left_armed(invoke: Callable[..., Answer], database: Database) -> None:
    """One would end the sandbox while it waits for its next invocation."""
    job_id, _ = database.insert_job()
    events: list[dict[str, Any]] = [{"job_id": str(job_id)}, {"job_id": "x"}, {"Records": []}]
    for event in events:
        assert invoke(event)["timer"] == 0


def test_a_sandbox_whose_connections_died_goes_on(
    invoke: Callable[..., Answer],
    database: Database,
    redis_server: EmbeddedRedis,
) -> None:
    """It was frozen, and its servers have closed everything meanwhile."""
    first, _ = database.insert_job()
    assert invoke({"job_id": str(first)})["result"]["outcome"] == "completed"
    database.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'darkroom-lambda-%%'"
    )
    redis_server.kill()
    redis_server.start()
    second, _ = database.insert_job()

    def runs() -> bool:
        return bool(invoke({"job_id": str(second)}).get("result"))

    wait_until(runs, 10, "the sandbox to connect anew")
    assert database.job(second)["status"] == "COMPLETED"


def test_the_function_loads_nothing_of_the_other_runtime(
    invoke: Callable[..., Answer], database: Database
) -> None:
    """Neither Celery nor what belongs to it, nor the local runtime, even after a job has run."""
    job_id, _ = database.insert_job()
    modules = set(invoke({"job_id": str(job_id)})["modules"])
    assert {"functions", "shared", "boto3"} <= modules
    assert not modules & {"celery", "kombu", "billiard", "local", "fastapi", "typer"}

"""The event source of the local Lambda host, between moto's SQS server and real sandboxes."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from devkit.environment import with_aws_variables
from devkit.lambda_host.event_source import SqsEventSource, find_failed_ids
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.sandbox import SandboxPool
from tests.support.lambda_host import OBEY, PATIENCE_SECONDS, Queue, new_queue, sqs_server
from tests.support.wait import wait_until

Feed = Callable[..., None]


@pytest.fixture(scope="module")
def sqs_url() -> Iterator[str]:
    """The address of a moto server."""
    with sqs_server() as url:
        yield url


@pytest.fixture
def queue(sqs_url: str) -> Iterator[Queue]:
    """A queue of this test's own."""
    with new_queue(sqs_url) as queue:
        yield queue


@pytest.fixture
def feed(queue: Queue) -> Iterator[Feed]:
    """Feed a pool from the queue, in an event loop of this process; stopped after the test."""
    with start_blocking_portal() as portal, ExitStack() as undo:

        def start(*, concurrency: int = 1, batch_size: int = 1) -> None:
            environment = with_aws_variables(os.environ, queue.url)
            function = LambdaFunction(OBEY, 10, environment)
            pool = portal.call(SandboxPool, function, concurrency)
            stopping = portal.call(asyncio.Event)
            source = SqsEventSource(queue.sqs, queue.url, pool, lambda: None, batch_size)
            running = portal.start_task_soon(source.run, stopping)
            undo.callback(running.result, PATIENCE_SECONDS)
            undo.callback(portal.call, pool.close)
            undo.callback(portal.call, stopping.set)

        yield start


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        ("null", set()),
        ("{}", set()),
        ('{"batchItemFailures": null}', set()),
        ('{"batchItemFailures": []}', set()),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}', {"a", "b"}),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', {"a", "b"}),
        ('{"batchItemFailures": [{"itemIdentifier": null}]}', {"a", "b"}),
        ('{"batchItemFailures": [{"itemIdentifier": "c"}]}', {"a", "b"}),
        ('{"batchItemFailures": [{"itemId": "a"}]}', {"a", "b"}),
        ('{"batchItemFailures": ["a"]}', {"a", "b"}),
        ('{"batchItemFailures": "a"}', {"a", "b"}),
        ('"done"', {"a", "b"}),
        ("not JSON", {"a", "b"}),
    ],
)
def test_which_messages_count_as_failed_follows_the_rules_of_aws(
    response: str, failed: set[str]
) -> None:
    """Every row of AWS's list of conditions for success and failure of a batch."""
    assert find_failed_ids(response.encode(), ["a", "b"]) == failed


def test_a_handled_message_is_deleted_and_was_seen_as_lambda_shows_it(
    queue: Queue, feed: Feed, tmp_path: Path
) -> None:
    """The record has the shape of AWS's example event."""
    feed()
    queue.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody=json.dumps({"do": "keep", "file": str(tmp_path / "record")}),
        MessageAttributes={"colour": {"DataType": "String", "StringValue": "red"}},
    )
    wait_until(queue.is_empty, PATIENCE_SECONDS, "the message is not deleted")
    record = json.loads((tmp_path / "record").read_text())
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"].startswith("arn:aws:sqs:us-east-1:")
    assert record["awsRegion"] == "us-east-1"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["attributes"]["SentTimestamp"].isdigit()
    assert record["messageAttributes"]["colour"]["stringValue"] == "red"
    assert record["messageId"]
    assert record["receiptHandle"]
    assert record["md5OfBody"]


def test_only_the_failed_messages_of_a_batch_stay_on_the_queue(
    queue: Queue, feed: Feed, tmp_path: Path
) -> None:
    """Of two messages in one invocation one is deleted and one is left, hidden."""
    queue.send(
        {"do": "keep", "file": str(tmp_path / "record")},
        {"do": "leave", "file": str(tmp_path / "left")},
    )
    feed(batch_size=10)
    wait_until((tmp_path / "left").exists, PATIENCE_SECONDS, "the function has not run")
    wait_until(lambda: queue.size() == 1, PATIENCE_SECONDS, "the good message is not deleted")
    assert (tmp_path / "record").exists()


@pytest.mark.parametrize("command", [{"do": "raise"}, {"do": "exit"}])
def test_a_message_that_fails_each_time_reaches_the_dead_letter_queue(
    queue: Queue, feed: Feed, command: dict[str, Any]
) -> None:
    """After `maxReceiveCount` deliveries, whether the function raises or its process dies."""
    queue.hide_for(0)
    queue.send(command)
    feed()
    wait_until(
        lambda: queue.dead_letters() == 1, PATIENCE_SECONDS, "nothing in the dead-letter queue"
    )
    assert queue.is_empty()


def test_a_message_comes_back_when_the_function_says(
    queue: Queue, feed: Feed, tmp_path: Path
) -> None:
    """ChangeMessageVisibility decides, not the queue's own timeout of a minute."""
    deliveries = tmp_path / "deliveries"
    queue.send({"do": "leave", "file": str(deliveries), "visible_after_seconds": 1})
    feed()
    wait_until(
        lambda: deliveries.exists() and len(deliveries.read_text().splitlines()) == 2,
        PATIENCE_SECONDS,
        "the message did not come back",
    )
    (first, first_at), (second, second_at) = (
        line.split() for line in deliveries.read_text().splitlines()
    )
    assert (first, second) == ("1", "2")
    assert 0.9 < float(second_at) - float(first_at) < 3.0


def test_a_queue_that_goes_away_and_comes_back_is_served_again(
    queue: Queue, feed: Feed, tmp_path: Path
) -> None:
    """Errors of SQS never end the poller."""
    feed()
    name = queue.url.rpartition("/")[2]
    queue.sqs.delete_queue(QueueUrl=queue.url)
    queue.sqs.create_queue(QueueName=name)
    queue.send({"do": "keep", "file": str(tmp_path / "record")})
    wait_until((tmp_path / "record").exists, PATIENCE_SECONDS, "the new queue is not served")


def test_two_messages_run_at_once_and_a_third_waits_on_the_queue(
    queue: Queue, feed: Feed, tmp_path: Path
) -> None:
    """With a concurrency of two, nothing is received while no sandbox is free."""
    feed(concurrency=2)
    queue.send(*[{"do": "hold", "folder": str(tmp_path)}] * 3)
    wait_until(
        lambda: len(list(tmp_path.glob("running-*"))) == 2,
        PATIENCE_SECONDS,
        "two do not run at once",
    )
    assert queue.waiting() == 1
    (tmp_path / "go-on").touch()
    wait_until(queue.is_empty, PATIENCE_SECONDS, "the third message is not handled")

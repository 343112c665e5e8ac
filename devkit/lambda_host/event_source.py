"""Feeds a function from an SQS queue, as Lambda's event source mapping does."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from devkit.lambda_host.conversation import InvocationStatus
from devkit.lambda_host.function_pool import FunctionPool
from devkit.lambda_host.partial_batch import find_failed_ids
from devkit.lambda_host.sqs_event import sqs_event_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

POLL_SECONDS = 0.06
LONGEST_POLL_SECONDS = 0.25
POLL_GROWTH = 1.1
"""Pause between two empty receives, growing while nothing comes: a message waits less than 100 ms
for a free sandbox where others came just before. Moto's long poll would see one that becomes
visible again only each second, and goes on after its client was killed, hiding a message from
everyone. A receive takes 9 ms of processor time, of which an idle laptop should see little."""

OUTAGE_BACKOFF_MAX_SECONDS = 5.0

_SQS_ERRORS = (BotoCoreError, ClientError)
_logger = structlog.get_logger()


class SqsEventSource:
    """Takes messages only while a sandbox is free, and deletes those that were handled.

    Every other message is left alone and comes back at the end of its visibility timeout, or
    when the function says (ChangeMessageVisibility); the queue's redrive policy counts.

    Args:
        sqs: A boto3 SQS client.
        batch_size: The most messages of one invocation.
        on_ready: Called once, when the queue has answered for the first time.
    """

    def __init__(
        self,
        sqs: "SQSClient",
        queue_url: str,
        pool: FunctionPool,
        on_ready: Callable[[], None],
        batch_size: int = 1,
    ) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._pool = pool
        self._on_ready = on_ready
        self._batch_size = batch_size
        self._queue_arn: str | None = None
        self._outage_backoff_seconds = 0.0
        self._stopping = threading.Event()
        self._polling = threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, name=f"event-source-{number}", daemon=True)
            for number in range(pool.concurrency)
        ]

    def start(self) -> None:
        """Begin to poll; one thread for each sandbox, of which one polls at a time."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more messages; those that run are carried on."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until no message is being handled; `stop` comes first."""
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            with self._polling:
                messages = self._wait_for_messages()
            if messages:
                self._handle(messages)

    def _wait_for_messages(self) -> list["MessageTypeDef"]:
        pause_seconds = POLL_SECONDS
        while not self._stopping.is_set():
            messages = self._try_to_receive()
            if messages:
                return messages
            self._stopping.wait(self._outage_backoff_seconds or pause_seconds)
            pause_seconds = min(pause_seconds * POLL_GROWTH, LONGEST_POLL_SECONDS)
        return []

    def _try_to_receive(self) -> list["MessageTypeDef"]:
        try:
            if self._queue_arn is None:
                self._queue_arn = self._introduce()
            messages = self._receive()
        except _SQS_ERRORS as error:
            self._note_outage(error)
            return []
        if self._outage_backoff_seconds:
            self._outage_backoff_seconds = 0.0
            _logger.info("queue_back", queue_url=self._queue_url)
        return messages

    def _introduce(self) -> str:
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_url, AttributeNames=["QueueArn", "VisibilityTimeout"]
        )
        attributes = answer["Attributes"]
        visibility_seconds = int(attributes["VisibilityTimeout"])
        if visibility_seconds < self._pool.function.timeout_seconds:
            # AWS refuses such a mapping (CreateEventSourceMapping, InvalidParameterValue).
            _logger.warning(
                "queue_visibility_below_function_timeout",
                visibility_seconds=visibility_seconds,
                timeout_seconds=self._pool.function.timeout_seconds,
            )
        self._on_ready()
        return attributes["QueueArn"]

    def _receive(self) -> list["MessageTypeDef"]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=self._batch_size,
            WaitTimeSeconds=0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _note_outage(self, error: Exception) -> None:
        if not self._outage_backoff_seconds:
            _logger.warning("queue_unavailable", queue_url=self._queue_url, error=str(error))
        self._outage_backoff_seconds = min(
            OUTAGE_BACKOFF_MAX_SECONDS, max(0.1, self._outage_backoff_seconds * 2)
        )

    def _handle(self, messages: Sequence["MessageTypeDef"]) -> None:
        result = self._pool.invoke(sqs_event_of(messages, self._queue_arn or ""))
        ids = [message["MessageId"] for message in messages]
        succeeded = result.status is InvocationStatus.OK
        failed = find_failed_ids(result.payload, ids) if succeeded else frozenset(ids)
        if failed:
            _logger.debug(
                "messages_left_on_queue",
                aws_request_id=result.request_id,
                message_ids=sorted(failed),
            )
        self._delete([message for message in messages if message["MessageId"] not in failed])

    def _delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        for message in messages:
            try:
                self._sqs.delete_message(
                    QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
            except _SQS_ERRORS as error:
                # It comes back, and the function sees a duplicate of a finished job.
                _logger.warning(
                    "message_not_deleted", message_id=message["MessageId"], error=str(error)
                )

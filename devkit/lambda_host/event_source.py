"""Feeds a function from an SQS queue, as Lambda's event source mapping does."""

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from devkit.lambda_host.sandbox import Sandbox, SandboxPool

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
T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Failure(TypedDict):
    itemIdentifier: str


class _Answer(TypedDict, total=False):
    batchItemFailures: list[_Failure] | None


_ANSWER: TypeAdapter[_Answer | None] = TypeAdapter(_Answer | None)


class SqsEventSource:
    """Takes messages only while a sandbox is free, and deletes those that were handled.

    Every other message is left alone and comes back at the end of its visibility timeout, or
    when the function says (ChangeMessageVisibility); the queue's redrive policy counts.

    Args:
        sqs: A boto3 SQS client.
        on_ready: Called once, when the queue has answered for the first time.
        batch_size: The most messages of one invocation.
    """

    def __init__(
        self,
        sqs: "SQSClient",
        queue_url: str,
        pool: SandboxPool,
        on_ready: Callable[[], None],
        batch_size: int = 1,
    ) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._pool = pool
        self._on_ready = on_ready
        self._batch_size = batch_size
        self._queue_arn = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Handle messages until `stopping` is set and those that were taken are handled."""
        # One receives at a time: several would only find the queue empty more often.
        receiving = asyncio.Lock()
        async with asyncio.TaskGroup() as slots:
            for _ in range(self._pool.concurrency):
                slots.create_task(self._serve_slot(receiving, stopping))

    async def _serve_slot(self, receiving: asyncio.Lock, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            async with receiving:
                messages = await self._wait_for_messages(stopping)
            if messages:
                async with self._pool.free_sandbox() as sandbox:
                    await self._handle(sandbox, messages)

    async def _wait_for_messages(self, stopping: asyncio.Event) -> list["MessageTypeDef"]:
        pause_seconds, has_failed = POLL_SECONDS, False
        while not stopping.is_set():
            try:
                messages = await _in_thread(self._receive)
            except _SQS_ERRORS as error:
                if not has_failed:
                    log.warning("queue unavailable", queue_url=self._queue_url, error=str(error))
                has_failed = True
                pause_seconds = min(pause_seconds * 2, OUTAGE_BACKOFF_MAX_SECONDS)
            else:
                if has_failed:
                    log.info("queue available again", queue_url=self._queue_url)
                    pause_seconds, has_failed = POLL_SECONDS, False
                if messages:
                    return messages
                pause_seconds = min(pause_seconds * POLL_GROWTH, LONGEST_POLL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await stopping.wait()
        return []

    def _receive(self) -> list["MessageTypeDef"]:
        if not self._queue_arn:
            self._queue_arn = self._introduce()
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=self._batch_size,
            WaitTimeSeconds=0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _introduce(self) -> str:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_url, AttributeNames=["QueueArn", "VisibilityTimeout"]
        )["Attributes"]
        visibility_seconds = int(attributes["VisibilityTimeout"])
        if visibility_seconds < self._pool.function.timeout_seconds:
            # AWS refuses such a mapping (CreateEventSourceMapping, InvalidParameterValue).
            log.warning(
                "queue visibility below function timeout",
                visibility_seconds=visibility_seconds,
                timeout_seconds=self._pool.function.timeout_seconds,
            )
        self._on_ready()
        return attributes["QueueArn"]

    async def _handle(self, sandbox: Sandbox, messages: Sequence["MessageTypeDef"]) -> None:
        result = await sandbox.invoke(json.dumps(sqs_event_of(messages, self._queue_arn)).encode())
        ids = [message["MessageId"] for message in messages]
        failed = frozenset(ids) if result.error_type else find_failed_ids(result.payload, ids)
        if failed:
            log.debug(
                "messages left on queue",
                aws_request_id=result.request_id,
                message_ids=sorted(failed),
            )
        handled = [message for message in messages if message["MessageId"] not in failed]
        await _in_thread(lambda: self._delete(handled))

    def _delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        for message in messages:
            try:
                self._sqs.delete_message(
                    QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
            except _SQS_ERRORS as error:
                # It comes back, and the function sees a duplicate of a finished job.
                log.warning(
                    "message not deleted", message_id=message["MessageId"], error=str(error)
                )


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a call that blocks, in a daemon thread: it must not keep the process from ending."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # It is raised where the call is awaited.
            future.set_exception(error)

    threading.Thread(target=work, name="sqs", daemon=True).start()
    return await asyncio.wrap_future(future)


def sqs_event_of(messages: Sequence["MessageTypeDef"], queue_arn: str) -> dict[str, Any]:
    """Return the event for messages as `receive_message` returns them.

    Lambda Developer Guide, "Using Lambda with Amazon SQS", section "Example standard queue
    message event".
    """
    return {"Records": [_record(message, queue_arn) for message in messages]}


def find_failed_ids(response: bytes, message_ids: Collection[str]) -> frozenset[str]:
    """Return the ids of the messages to leave on the queue; all of them for a bad response.

    Lambda Developer Guide, "Handling errors for an SQS event source in Lambda", section
    "Success and failure conditions" (ReportBatchItemFailures).

    Args:
        response: The function's JSON response.
        message_ids: All messages of the batch.
    """
    everything = frozenset(message_ids)
    try:
        answer = _ANSWER.validate_json(response, strict=True) or {}
    except ValidationError:
        return everything
    failed = frozenset(one["itemIdentifier"] for one in answer.get("batchItemFailures") or ())
    return failed if failed <= everything else everything


def _record(message: "MessageTypeDef", queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }

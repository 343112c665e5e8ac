"""The event that Lambda makes of SQS messages, and which of them the function's answer keeps."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef


class _Failure(BaseModel):
    model_config = ConfigDict(strict=True)

    message_id: str = Field(alias="itemIdentifier")


class _Answer(BaseModel):
    failures: list[_Failure] | None = Field(None, alias="batchItemFailures")


_ANSWER: TypeAdapter[_Answer | None] = TypeAdapter(_Answer | None)


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
        answer = _ANSWER.validate_json(response)
    except ValidationError:
        return everything
    failures = answer.failures if answer is not None else None
    failed = frozenset(failure.message_id for failure in failures or ())
    return failed if failed <= everything else everything


def _record(message: "MessageTypeDef", queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def _attribute(value: "MessageAttributeValueOutputTypeDef") -> dict[str, Any]:
    return {
        "stringValue": value.get("StringValue"),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }

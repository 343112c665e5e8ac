"""The event that Lambda makes of SQS messages.

Lambda Developer Guide, "Using Lambda with Amazon SQS", section "Example standard queue message
event".
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef


def sqs_event_of(messages: Sequence["MessageTypeDef"], queue_arn: str) -> dict[str, Any]:
    """Return the event for messages as `receive_message` returns them."""
    return {"Records": [_record(message, queue_arn) for message in messages]}


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

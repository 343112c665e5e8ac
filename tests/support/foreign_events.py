"""Events that reach a function by a wrong subscription, a warm-up tool or a wrong payload."""

from typing import Any

_OBJECT = {"bucket": {"name": "uploads"}, "object": {"key": "a.png", "size": 7}}

FOREIGN_EVENTS: list[tuple[Any, str]] = [
    ({}, "unknown"),
    (None, "unknown"),
    ([], "unknown"),
    ("ping", "unknown"),
    ({"Records": None}, "unknown"),
    ({"Records": [None]}, "unknown"),
    ({"warmer": True, "concurrency": 1}, "unknown"),
    ({"source": "serverless-plugin-warmup"}, "serverless-plugin-warmup"),
    ({"version": "0", "detail-type": "Scheduled Event", "source": "aws.events"}, "aws.events"),
    ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}, "Amazon S3"),
    (
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": _OBJECT}]},
        "aws:s3",
    ),
    (
        {
            "Records": [
                {"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": "hello"}}
            ]
        },
        "aws:sns",
    ),
    ({"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": "aGVsbG8="}}]}, "aws:kinesis"),
]
"""Each with its sender, as the answer names it (Lambda Developer Guide; S3 User Guide)."""

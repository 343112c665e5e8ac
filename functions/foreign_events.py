"""Events that are meant for other programs: notifications of SNS and S3, pings of warm-up tools.

Both handlers answer them with one line in the log. An error would have AWS send such an event
twice more, and count as a failure of the function.
"""

from collections.abc import Mapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_SOURCE_KEYS = ("eventSource", "EventSource", "source", "Service")
"""Where events of AWS name the service that sent them."""


def is_envelope(event: Any) -> bool:
    """Return whether an event names a job, or consists of messages of SQS."""
    if not isinstance(event, Mapping):
        return False
    records = event.get("Records")
    if not isinstance(records, list):
        return "job_id" in event
    return all(isinstance(each, Mapping) and {"messageId", "body"} <= set(each) for each in records)


def is_request(event: Any) -> bool:
    """Return whether an event is a request over HTTP."""
    return isinstance(event, Mapping) and "requestContext" in event


def reject(event: Any) -> dict[str, Any]:
    """Log that an event is not ours, and answer it."""
    source = _source_of(event)
    log.warning("event rejected", source=source)
    return {"outcome": "rejected", "source": source}


def _source_of(event: Any) -> str:
    records = event.get("Records") if isinstance(event, Mapping) else None
    first = records[0] if isinstance(records, list) and records else event
    named = first if isinstance(first, Mapping) else {}
    return next((str(named[key])[:64] for key in _SOURCE_KEYS if key in named), "unknown")

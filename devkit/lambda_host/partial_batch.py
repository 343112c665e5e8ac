"""AWS's rules on which messages of a batch a function has handled.

Lambda Developer Guide, "Handling errors for an SQS event source in Lambda", section
"Success and failure conditions" (ReportBatchItemFailures).
"""

import json
from collections.abc import Collection


def find_failed_ids(response: bytes, message_ids: Collection[str]) -> frozenset[str]:
    """Return the ids of the messages to leave on the queue; all of them for a bad response.

    Args:
        response: The function's JSON response.
        message_ids: All messages of the batch.
    """
    everything = frozenset(message_ids)
    try:
        answer = json.loads(response)
    except ValueError:
        return everything
    if answer is None:
        return frozenset()
    if not isinstance(answer, dict):
        return everything
    failures = answer.get("batchItemFailures")
    if failures is None:
        return frozenset()
    failed = _identifiers(failures)
    return failed if failed is not None and failed <= everything else everything


def _identifiers(failures: object) -> frozenset[str] | None:
    if not isinstance(failures, list):
        return None
    identifiers = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str):
            return None
        identifiers.add(identifier)
    return frozenset(identifiers)

"""The answer of a custom resource to CloudFormation, which waits for it."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import structlog

from functions.lambda_context import LambdaContext
from shared.errors import DarkroomError, one_line

log = structlog.get_logger(__name__)

MARGIN_SECONDS = 15.0
"""Kept at the end of an invocation to answer that it took too long."""

TRIES = 3
_SECONDS_A_TRY = 4.0


@contextmanager
def stack_answer(request: Mapping[str, Any], context: LambdaContext) -> Iterator[dict[str, str]]:
    """Answer SUCCESS at the end of the block; FAILED if the block raises or takes too long.

    Yields the `Data` of the answer, for the block to fill. Exactly one answer is sent.
    (CloudFormation User Guide, "Custom resource response objects")

    Args:
        request: The event that the function was invoked with.
        context: Of the invocation.
    """
    answer = _Answer(request, context.log_stream_name)
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS)
    # A thread keeps the time: a statement that waits inside PostgreSQL cannot be interrupted.
    timer = threading.Timer(
        seconds, answer.send, ["FAILED", f"It was not done within {seconds:.0f} s"]
    )
    timer.daemon = True
    timer.start()
    try:
        yield answer.data
    except BaseException as error:
        timer.cancel()
        # Only our own texts are known to hold no secret.
        text = one_line(str(error)) if isinstance(error, DarkroomError) else type(error).__name__
        answer.send("FAILED", text)
        raise
    timer.cancel()
    answer.send("SUCCESS", "")


class _Answer:
    """One answer, sent once, by the handler or by the timer."""

    def __init__(self, request: Mapping[str, Any], log_stream_name: str) -> None:
        self.data: dict[str, str] = {}
        self._request = request
        self._log_stream_name = log_stream_name
        self._lock = threading.Lock()
        self._is_sent = False

    def send(self, status: str, reason: str) -> None:
        """Send the answer, unless one was sent before."""
        with self._lock:
            if self._is_sent:
                return
            self._is_sent = True
        answer = {
            "Status": status,
            "Reason": f"{reason} (log stream {self._log_stream_name})"[:1000],
            "PhysicalResourceId": self._request.get("PhysicalResourceId", "database-schema"),
            "StackId": self._request["StackId"],
            "RequestId": self._request["RequestId"],
            "LogicalResourceId": self._request["LogicalResourceId"],
            "Data": self.data,
        }
        _put(str(self._request["ResponseURL"]), json.dumps(answer).encode())
        log.info("answered CloudFormation", status=status, reason=reason)


def _put(address: str, body: bytes) -> None:
    # The address is signed without a content type.
    request = Request(address, body, {"Content-Type": ""}, method="PUT")  # noqa: S310 - given by AWS
    for number in range(1, TRIES + 1):
        try:
            with urlopen(request, timeout=_SECONDS_A_TRY):  # noqa: S310 - the same
                return
        except OSError as error:
            log.warning("CloudFormation was not reached", number=number, error=str(error))
            if number == TRIES:
                raise

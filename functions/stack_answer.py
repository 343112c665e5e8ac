"""The answer of a custom resource to CloudFormation, which waits for it."""

import json
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.request import Request, urlopen

import structlog

from shared.errors import DarkroomError

log = structlog.get_logger(__name__)

MARGIN_SECONDS = 15.0
"""Kept at the end of an invocation for telling that it took too long."""

TRIES = 3
_SECONDS_A_TRY = 4.0


class LambdaContext(Protocol):
    """The part of awslambdaric's context that is used here."""

    @property
    def log_stream_name(self) -> str:
        """Where the lines of this invocation are found."""
        ...

    def get_remaining_time_in_millis(self) -> int:
        """Return how long this invocation may still run."""
        ...


class StackAnswer:
    """Answers SUCCESS at the end of its block, FAILED if that raises or takes too long.

    The time is kept by a thread: a statement of PostgreSQL cannot be interrupted. An answer is
    sent once. (CloudFormation User Guide, "Custom resource response objects")

    Args:
        request: The event that the function was invoked with.
        context: Of the invocation.
    """

    def __init__(self, request: Mapping[str, Any], context: LambdaContext) -> None:
        self.data: dict[str, str] = {}
        self._request = request
        self._log_stream_name = context.log_stream_name
        seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS)
        self._timer = threading.Timer(
            seconds, self._send, ["FAILED", f"It was not done within {seconds:.0f} s"]
        )
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._is_sent = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if error is None:
            self._send("SUCCESS", "")
        else:
            # Only our own texts are known to hold no secret.
            text = str(error) if isinstance(error, DarkroomError) else type(error).__name__
            self._send("FAILED", text)

    def _send(self, status: str, reason: str) -> None:
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

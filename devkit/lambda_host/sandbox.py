"""One sandbox ("execution environment"): runs one invocation at a time, as Lambda does.

Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle": a cold start
at the first invocation, frozen between invocations, killed at the function's timeout, made
anew after its process ended.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog

from devkit.lambda_host.conversation import (
    InvocationStatus,
    Outcome,
    await_init,
    carry_out,
    crashed,
)
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.runtime_api import Invocation
from devkit.lambda_host.runtime_process import RuntimeProcess

_logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """What became of one invocation.

    Attributes:
        payload: The function's JSON response, or the JSON error of the function or of Lambda.
        error_type: As Lambda names it; None when the function returned.
        duration_seconds: With the cold start, if there was one.
        pid: The process that ran it; None if there was none.
    """

    request_id: str
    status: InvocationStatus
    payload: bytes
    error_type: str | None
    duration_seconds: float
    pid: int | None


class Sandbox:
    """Runs a function in a process that is kept for the next invocation."""

    def __init__(self, function: LambdaFunction) -> None:
        self.function = function
        self._process: RuntimeProcess | None = None
        self._closed = False
        self._invoking = threading.Lock()
        self._replacing = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The living process; None before the first invocation and after an end."""
        process = self._process
        return None if process is None or process.has_ended else process.pid

    def invoke(self, payload: Mapping[str, Any] | bytes) -> InvocationResult:
        """Run the function once and wait for it; never raises for what the function does.

        Args:
            payload: The event: JSON as bytes, or what becomes JSON.
        """
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        invocation = Invocation(str(uuid4()), body)
        with self._invoking:
            started_at = time.monotonic()
            _logger.debug("invocation_started", **self._log_fields(invocation))
            outcome = self._run_warm(invocation) or self._run_cold(invocation)
            result = InvocationResult(
                request_id=invocation.request_id,
                status=outcome.status,
                payload=outcome.payload,
                error_type=outcome.error_type,
                duration_seconds=time.monotonic() - started_at,
                pid=None if self._process is None else self._process.pid,
            )
            self._log_end(invocation, result)
            return result

    def terminate(self) -> None:
        """Take no more invocations and ask the process of a running one to end, by SIGTERM.

        An idle process has nothing to lose; AWS takes it away without a word too.
        """
        process = self._retire()
        if process is None:
            return
        if self._invoking.locked():
            process.terminate()
        else:
            process.kill()

    def close(self) -> None:
        """Take no more invocations, kill the process and wait until it is gone."""
        process = self._retire()
        if process is not None:
            process.kill()

    def _retire(self) -> RuntimeProcess | None:
        with self._replacing:
            self._closed = True
            return self._process

    def _run_warm(self, invocation: Invocation) -> Outcome | None:
        process = self._process
        if self._closed or process is None or process.has_ended:
            return None
        return self._carry_out(process, invocation)

    def _run_cold(self, invocation: Invocation) -> Outcome:
        try:
            process = self._start_process()
        except OSError as error:
            return crashed(f"no process could be started: {error}")
        if process is None:
            return crashed("the sandbox is closed")
        failure = await_init(process, self.function)
        if failure is not None:
            return failure
        return self._carry_out(process, invocation) or crashed("the runtime exited after INIT")

    def _start_process(self) -> RuntimeProcess | None:
        with self._replacing:
            if not self._closed:
                self._process = RuntimeProcess(self.function)
                return self._process
            return None

    def _carry_out(self, process: RuntimeProcess, invocation: Invocation) -> Outcome | None:
        outcome = carry_out(process, self.function, invocation)
        if self.function.freezes:
            process.freeze()
        return outcome

    def _log_fields(self, invocation: Invocation) -> dict[str, Any]:
        return {
            "aws_request_id": invocation.request_id,
            "function": self.function.name,
            "pid": self.pid,
        }

    def _log_end(self, invocation: Invocation, result: InvocationResult) -> None:
        fields = self._log_fields(invocation) | {
            "pid": result.pid,
            "status": result.status.value,
            "duration_ms": round(result.duration_seconds * 1000),
        }
        if result.status is InvocationStatus.OK:
            _logger.debug("invocation_ended", **fields)
        else:
            error = result.payload[:500].decode(errors="replace")
            _logger.info("invocation_ended", **fields, error_type=result.error_type, error=error)

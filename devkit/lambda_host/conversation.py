"""What is said between a sandbox and its runtime process, and how an invocation ends."""

import json
import time
from dataclasses import dataclass
from enum import StrEnum

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.runtime_api import Answered, Exited, Idle, InitFailed, Invocation, PickedUp
from devkit.lambda_host.runtime_process import RuntimeProcess

EXIT_ERROR = "Runtime.ExitError"
TIMED_OUT = "Sandbox.Timedout"


class InvocationStatus(StrEnum):
    """How an invocation ended."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, with the JSON response or error, and the error's type as Lambda names it."""

    status: InvocationStatus
    payload: bytes
    error_type: str | None = None


def await_init(process: RuntimeProcess, function: LambdaFunction) -> Outcome | None:
    """Wait until a new process has loaded its handler; None when it has, else it is killed."""
    limit_seconds = function.init_timeout_seconds
    match process.next_signal(until=time.monotonic() + limit_seconds):
        case Idle():
            return None
        case InitFailed(payload, error_type):
            process.kill()
            return Outcome(InvocationStatus.ERROR, payload, error_type)
        case Exited(return_code):
            return crashed(f"runtime exited with code {return_code} during INIT")
        case _:
            process.kill()
            return _timed_out(f"INIT timed out after {limit_seconds:.2f} seconds")


def carry_out(
    process: RuntimeProcess, function: LambdaFunction, invocation: Invocation
) -> Outcome | None:
    """Run one invocation on a process that waits for one.

    Returns only when the runtime asked for its next invocation (so that the process can be
    frozen), ended, or was killed for overstepping the timeout, which counts from when it picked
    this one up. None means that the process ended before it picked the invocation up.
    """
    process.offer(invocation)
    until = time.monotonic() + function.timeout_seconds
    picked_up = False
    answer: Outcome | None = None
    while True:
        match process.next_signal(until):
            case PickedUp():
                picked_up = True
                until = time.monotonic() + function.timeout_seconds
            case Answered(payload, error_type):
                status = InvocationStatus.ERROR if error_type else InvocationStatus.OK
                answer = Outcome(status, payload, error_type)
            case Exited(return_code) if picked_up:
                return answer or crashed(f"runtime exited with code {return_code}")
            case Exited():
                return None
            case Idle() if answer is not None:
                return answer
            case None:
                process.kill()
                return answer or _timed_out(
                    f"Task timed out after {function.timeout_seconds:.2f} seconds"
                )


def crashed(message: str) -> Outcome:
    """Return the outcome of an invocation whose process ended under it."""
    return Outcome(InvocationStatus.CRASHED, _error_payload(message, EXIT_ERROR), EXIT_ERROR)


def _timed_out(message: str) -> Outcome:
    return Outcome(InvocationStatus.TIMEOUT, _error_payload(message, TIMED_OUT), TIMED_OUT)


def _error_payload(message: str, error_type: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()

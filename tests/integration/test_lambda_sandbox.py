"""One sandbox of the local Lambda host: AWS's own runtime in a real process."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.function_process import CRASHED, TIMED_OUT
from tests.support.lambda_host import (
    FUNCTIONS,
    OBEY,
    PATIENCE_SECONDS,
    CalledSandbox,
    is_alive,
    process_state,
)
from tests.support.wait import wait_until

NewSandbox = Callable[[LambdaFunction], CalledSandbox]


@pytest.fixture
def function() -> LambdaFunction:
    """A function with the test environment, 10 s timeout and the obedient handler."""
    return LambdaFunction(OBEY, timeout_seconds=10, environment=os.environ)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """The event loop that runs the sandboxes."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def new_sandbox(portal: BlockingPortal) -> Iterator[NewSandbox]:
    """Make sandboxes whose processes are gone after the test."""
    sandboxes: list[CalledSandbox] = []

    def make(function: LambdaFunction) -> CalledSandbox:
        sandboxes.append(CalledSandbox(portal, function))
        return sandboxes[-1]

    yield make
    pids = [sandbox.pid for sandbox in sandboxes]
    for sandbox in sandboxes:
        sandbox.close()
    assert not [pid for pid in pids if pid is not None and is_alive(pid)]


@pytest.fixture
def sandbox(new_sandbox: NewSandbox, function: LambdaFunction) -> CalledSandbox:
    """One sandbox of the obedient handler."""
    return new_sandbox(function)


def test_a_function_answers_in_a_process_that_is_kept(sandbox: CalledSandbox) -> None:
    """Two invocations: one process, the main thread, and the context that Lambda gives."""
    first, second = (sandbox.invoke({"do": "describe"}) for _ in range(2))
    assert first.error_type is None
    answer = json.loads(first.payload)
    assert answer["pid"] == first.pid == second.pid == sandbox.pid
    assert answer["request_id"] == first.request_id != second.request_id
    assert answer["thread_is_main"]
    assert 9_000 < answer["remaining_ms"] <= 10_000
    assert answer["function"] == "lambda_functions"
    assert answer["arn"].endswith(":function:lambda_functions")


def test_payloads_of_megabytes_pass_both_ways(sandbox: CalledSandbox) -> None:
    """Five megabytes in and out, below Lambda's limit of six."""
    size = 5_000_000
    result = sandbox.invoke({"do": "describe", "padding": "x" * size, "answer_bytes": size})
    assert json.loads(result.payload)["size"] == size
    assert len(result.payload) > size


def test_a_response_above_six_megabytes_is_an_error(sandbox: CalledSandbox) -> None:
    """Lambda refuses it, and the next invocation is served all the same."""
    result = sandbox.invoke({"do": "describe", "answer_bytes": 7_000_000})
    assert result.error_type == "Function.ResponseSizeTooLarge"
    assert sandbox.invoke({"do": "describe"}).error_type is None


def test_an_error_of_the_handler_leaves_its_process_alive(sandbox: CalledSandbox) -> None:
    """The error's message comes back; the process serves the next invocation."""
    failed = sandbox.invoke({"do": "raise", "message": "out of film"})
    assert failed.error_type == "Unhandled"
    assert json.loads(failed.payload)["errorType"] == "ValueError"
    assert json.loads(failed.payload)["errorMessage"] == "out of film"
    assert sandbox.invoke({"do": "describe"}).pid == failed.pid


def test_a_timeout_kills_the_process_and_the_next_invocation_gets_a_new_one(
    new_sandbox: NewSandbox, function: LambdaFunction, tmp_path: Path
) -> None:
    """No SIGTERM, no cleaning up: the process is gone when the invocation ends."""
    sandbox = new_sandbox(LambdaFunction(OBEY, 0.3, function.environment))
    late = sandbox.invoke({"do": "hold", "folder": str(tmp_path)})
    assert late.error_type == "Sandbox.Timedout"
    assert late.pid is not None
    assert not is_alive(late.pid)
    after = sandbox.invoke({"do": "describe"})
    assert after.error_type is None
    assert after.pid != late.pid


def test_an_init_that_takes_too_long_is_a_timeout(
    new_sandbox: NewSandbox, function: LambdaFunction
) -> None:
    """The process that never came to its handler is killed."""
    sandbox = new_sandbox(replace(function, init_timeout_seconds=0.01))
    late = sandbox.invoke({"do": "describe"})
    assert late.error_type == TIMED_OUT
    assert b"INIT" in late.payload
    assert late.pid is not None
    assert not is_alive(late.pid)


def test_an_exit_inside_the_handler_is_a_crash_at_once(sandbox: CalledSandbox) -> None:
    """The invocation ends with Runtime.ExitError long before its timeout."""
    crash = sandbox.invoke({"do": "exit", "code": 3})
    assert crash.error_type == "Runtime.ExitError"
    assert crash.duration_seconds < sandbox.function.timeout_seconds / 2
    assert sandbox.invoke({"do": "describe"}).error_type is None


def test_a_kill_from_outside_during_an_invocation_is_a_crash_at_once(
    sandbox: CalledSandbox, tmp_path: Path
) -> None:
    """The host sees it without waiting for a timeout."""
    results = []
    call = threading.Thread(
        target=lambda: results.append(sandbox.invoke({"do": "hold", "folder": str(tmp_path)}))
    )
    call.start()
    wait_until(
        lambda: list(tmp_path.glob("running-*")), PATIENCE_SECONDS, "the function does not run"
    )
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGKILL)
    call.join(timeout=2.0)
    assert results[0].error_type == CRASHED


def test_a_kill_between_invocations_costs_nothing(sandbox: CalledSandbox) -> None:
    """The next invocation gets a new process, whether or not the host has noticed yet."""
    for _ in range(3):
        before = sandbox.invoke({"do": "describe"})
        _kill(before.pid)
        after = sandbox.invoke({"do": "describe"})
        assert after.error_type is None
        assert after.pid != before.pid


@pytest.mark.parametrize(
    ("handler", "error_type"),
    [
        ("tests.support.no_such_module.handler", "Runtime.ImportModuleError"),
        (f"{FUNCTIONS}.no_such_handler", "Runtime.HandlerNotFound"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_an_error_of_each_invocation(
    new_sandbox: NewSandbox,
    function: LambdaFunction,
    handler: str,
    error_type: str,
) -> None:
    """INIT fails with its type, and the next invocation tries a fresh process."""
    sandbox = new_sandbox(LambdaFunction(handler, 5, function.environment))
    first, second = sandbox.invoke({}), sandbox.invoke({})
    assert first.error_type == error_type
    assert second.error_type == error_type
    assert first.pid != second.pid


def test_an_answer_to_another_invocation_is_refused(sandbox: CalledSandbox) -> None:
    """One that comes late, or is made up; this invocation keeps its own."""
    result = sandbox.invoke({"do": "forge", "request_id": str(uuid4())})
    assert (result.error_type, result.payload) == (None, b"400")


def test_a_process_is_frozen_between_invocations(sandbox: CalledSandbox) -> None:
    """All its threads are stopped after a response, and go on with the next invocation."""
    sandbox.invoke({"do": "tick"})
    wait_until(lambda: _state(sandbox) == "T", PATIENCE_SECONDS, "the process is not stopped")
    ticks_of = [int(sandbox.invoke({"do": "tick"}).payload) for _ in range(2)]
    frozen_at = time.monotonic()
    wait_until(lambda: time.monotonic() > frozen_at + 0.3, PATIENCE_SECONDS, "time stands still")
    ticks = int(sandbox.invoke({"do": "tick"}).payload)
    assert ticks - ticks_of[-1] < 100


def test_lines_of_a_function_pass_whole_and_as_json(
    sandbox: CalledSandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    """A JSON line passes as it is; any other becomes the text of one."""
    sandbox.invoke({"do": "print", "lines": ['{"event": "mine"}', "plain"]})
    sandbox.close()
    lines = capfd.readouterr().out.splitlines()
    assert '{"event": "mine"}' in lines
    assert [line for line in lines if "function output" in line and "plain" in line]


def _state(sandbox: CalledSandbox) -> str:
    assert sandbox.pid is not None
    return process_state(sandbox.pid)


def _kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), PATIENCE_SECONDS, "the process survives")

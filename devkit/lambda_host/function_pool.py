"""Several sandboxes of one function: how many invocations may run at once."""

import queue
import threading
from collections.abc import Mapping
from typing import Any

from devkit.lambda_host.conversation import Outcome, await_init, crashed
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.sandbox import InvocationResult, Sandbox


class FunctionPool:
    """Runs each invocation in a free sandbox, the one used last first (it is the warmest).

    A sandbox that was never used has no process: they start as they are needed.

    Args:
        concurrency: The most invocations at once, as a function's reserved concurrency.
    """

    def __init__(self, function: LambdaFunction, concurrency: int) -> None:
        self.function = function
        self.concurrency = concurrency
        self._sandboxes = tuple(_PoolSandbox(function) for _ in range(concurrency))
        self._free: queue.LifoQueue[_PoolSandbox] = queue.LifoQueue()
        for sandbox in self._sandboxes:
            self._free.put(sandbox)

    def warm(self) -> Outcome | None:
        """Start the process of the next invocation; None when it waits, else why it does not."""
        sandbox = self._free.get()
        try:
            return sandbox.warm()
        finally:
            self._free.put(sandbox)

    def invoke(self, payload: Mapping[str, Any] | bytes) -> InvocationResult:
        """Wait for a free sandbox and run the function once in it."""
        sandbox = self._free.get()
        try:
            return sandbox.invoke(payload)
        finally:
            self._free.put(sandbox)

    def terminate(self) -> None:
        """Take no more invocations and ask the running ones to end; returns at once."""
        for sandbox in self._sandboxes:
            sandbox.terminate()

    def close(self) -> None:
        """Kill every process and wait until all are gone."""
        threads = [threading.Thread(target=sandbox.close) for sandbox in self._sandboxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class _PoolSandbox(Sandbox):
    """A sandbox that can be initialised ahead of its first invocation."""

    def warm(self) -> Outcome | None:
        """Load the handler in a new process; returns why that failed, if it did."""
        with self._invoking:
            try:
                process = self._start_process()
            except OSError as error:
                return crashed(f"no process could be started: {error}")
            if process is None:
                return crashed("the sandbox is closed")
            failure = await_init(process, self.function)
            if failure is None and self.function.freezes:
                process.freeze()
            return failure

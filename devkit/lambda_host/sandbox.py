"""Sandboxes ("execution environments"): each runs one invocation at a time, as Lambda does.

Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle": a cold start
at the first invocation, frozen between invocations, killed at the function's timeout, made
anew after its process ended.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import structlog

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.function_process import FunctionProcess, Outcome, failed

log = structlog.get_logger(__name__)

ERROR_MAX_CHARS = 500


class Sandbox:
    """Runs a function in a process that is kept for the next invocation.

    Attributes:
        is_starting: Whether an invocation waits for its process to load the handler.
    """

    def __init__(self, function: LambdaFunction) -> None:
        self.function = function
        self._process: FunctionProcess | None = None
        self.is_starting = False
        self._is_closed = False
        self._invoking = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The living process; None before the first invocation and after an end."""
        process = self._process
        return None if process is None or process.has_ended else process.pid

    async def warm(self) -> Outcome | None:
        """Load the handler in a process for the next invocation; return why that failed, if so."""
        async with self._invoking:
            loaded = await self._load_process()
        return loaded if isinstance(loaded, Outcome) else None

    async def invoke(self, payload: bytes) -> Outcome:
        """Run the function once with a JSON event; never raises for what the function does."""
        request_id = str(uuid4())
        async with self._invoking:
            started_at = time.monotonic()
            loaded = await self._load_process()
            if isinstance(loaded, FunctionProcess):
                loaded = await loaded.run(request_id, payload)
            outcome = replace(
                loaded,
                request_id=request_id,
                duration_seconds=time.monotonic() - started_at,
                pid=None if self._process is None else self._process.pid,
            )
        self._log_end(outcome)
        return outcome

    async def terminate(self) -> None:
        """Take no more invocations and ask the process of a running one to end, by SIGTERM.

        An idle process is killed: it has nothing to lose, and AWS does not ask it either.
        """
        self._is_closed = True
        if self._process is None:
            return
        if self._invoking.locked():
            self._process.terminate()
        else:
            await self._process.kill()

    async def close(self) -> None:
        """Take no more invocations, kill the process and wait until it is gone."""
        self._is_closed = True
        if self._process is not None:
            await self._process.close()

    async def _load_process(self) -> FunctionProcess | Outcome:
        """Return a process that waits for an invocation, or why there is none."""
        if self._is_closed:
            return failed("the sandbox is closed")
        if self._process is None or self._process.has_ended:
            try:
                self._process = FunctionProcess(self.function)
            except OSError as error:
                return failed(f"no process could be started: {error}")
            self.is_starting = True
            try:
                return await self._process.load() or self._process
            finally:
                self.is_starting = False
        return self._process

    def _log_end(self, outcome: Outcome) -> None:
        ended = log.bind(
            aws_request_id=outcome.request_id,
            function=self.function.name,
            pid=outcome.pid,
            error_type=outcome.error_type,
            duration_ms=round(outcome.duration_seconds * 1000),
        )
        if outcome.error_type is None:
            ended.debug("invocation ended")
        else:
            error = outcome.payload[:ERROR_MAX_CHARS].decode(errors="replace")
            ended.info("invocation ended", error=error)


class SandboxPool:
    """Several sandboxes of one function: how many of its invocations may run at once.

    A sandbox that was never used has no process: they start as they are needed.

    Args:
        concurrency: The most invocations at once, as a function's reserved concurrency.
    """

    def __init__(self, function: LambdaFunction, concurrency: int) -> None:
        self.function = function
        self.concurrency = concurrency
        self._sandboxes = tuple(Sandbox(function) for _ in range(concurrency))
        # The one used last is the warmest, and is used first.
        self._free: asyncio.LifoQueue[Sandbox] = asyncio.LifoQueue()
        for sandbox in self._sandboxes:
            self._free.put_nowait(sandbox)

    @asynccontextmanager
    async def free_sandbox(self, within_seconds: float | None = None) -> AsyncIterator[Sandbox]:
        """Wait for a free sandbox and keep it to the end of the block.

        Raises:
            TimeoutError: None was free in time, and none was starting; None waits for as long as it
                takes.
        """
        sandbox = await self._wait_for_free(within_seconds)
        try:
            yield sandbox
        finally:
            self._free.put_nowait(sandbox)

    async def _wait_for_free(self, within_seconds: float | None) -> Sandbox:
        while True:
            try:
                async with asyncio.timeout(within_seconds):
                    return await self._free.get()
            except TimeoutError:
                # On AWS all start side by side. Here they share the processors of one machine, and
                # a few requests at once would have others throttled for seconds.
                if not any(sandbox.is_starting for sandbox in self._sandboxes):
                    raise

    async def terminate(self) -> None:
        """Take no more invocations and ask the running ones to end."""
        await asyncio.gather(*(sandbox.terminate() for sandbox in self._sandboxes))

    async def close(self) -> None:
        """Kill every process and wait until all are gone."""
        await asyncio.gather(*(sandbox.close() for sandbox in self._sandboxes))

"""`python -m devkit.lambda_host`: a worker function fed from the queue, a reaper on a schedule."""

import asyncio
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import boto3
import structlog
import typer
from botocore.config import Config

from devkit.environment import DEFAULT_REGION, adopt, with_aws_variables
from devkit.lambda_host.event_source import SqsEventSource
from devkit.lambda_host.function import ACCOUNT_ID, LambdaFunction
from devkit.lambda_host.sandbox import Sandbox, SandboxPool
from devkit.lambda_host.stopping import StopSignals
from local.web.server import run_program
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

TERMINATE_SECONDS = 2.0
"""What a function process gets between SIGTERM and SIGKILL (Lambda Developer Guide, "Understanding
the Lambda execution environment lifecycle", Shutdown phase: at most 2 s)."""

SWEEPS_A_HOUSEKEEPING = 10

_HOUSEKEEPING = b'{"work": "housekeeping"}'
_WEBHOOKS = b'{"work": "webhooks"}'

log = structlog.get_logger(__name__)


class LambdaHost:
    """Runs jobs until SIGTERM or SIGINT; takes its settings from the environment.

    Args:
        concurrency: The most worker invocations at once.
        worker: The handler that is fed from the queue.
        reaper: The handler that sweeps each SWEEP_SECONDS; in other sandboxes it does the
            housekeeping and sends webhooks.
    """

    def __init__(self, settings: Settings, concurrency: int, worker: str, reaper: str) -> None:
        adopt(with_aws_variables(os.environ, settings.queue_url))
        self._settings = settings
        self._concurrency = concurrency
        self._worker, self._reaper = (
            LambdaFunction(handler, settings.time_limit, os.environ) for handler in (worker, reaper)
        )

    def run(self) -> None:
        """Serve until asked to stop, then wait for what runs; a second signal ends the wait."""
        asyncio.run(self._serve())
        log.info("lambda host stopped")

    async def _serve(self) -> None:
        stop = StopSignals()
        workers = SandboxPool(self._worker, self._concurrency)
        scheduled = [Sandbox(self._reaper) for _ in range(3)]
        seconds = self._settings.sweep_seconds
        sqs = _sqs_client(self._concurrency)
        source = SqsEventSource(sqs, self._settings.queue_url or "", workers, self._say_ready)
        async with asyncio.TaskGroup() as group:
            work = (
                group.create_task(source.run(stop.asked)),
                group.create_task(run_schedule(scheduled[0], seconds, stop.asked)),
                group.create_task(
                    run_schedule(
                        scheduled[1], seconds * SWEEPS_A_HOUSEKEEPING, stop.asked, _HOUSEKEEPING
                    )
                ),
                group.create_task(run_schedule(scheduled[2], seconds, stop.asked, _WEBHOOKS)),
            )
            await stop.asked.wait()
            grace_seconds = self._settings.shutdown_grace_seconds
            log.info("lambda host stopping", grace_seconds=grace_seconds)
            if not await stop.wait_for(work, grace_seconds):
                await workers.terminate()
                for sandbox in scheduled:
                    await sandbox.terminate()
                await stop.wait_for(work, TERMINATE_SECONDS)
            await workers.close()
            for sandbox in scheduled:
                await sandbox.close()
            # A call of SQS that hangs must not hold up the end.
            for task in work:
                task.cancel()

    def _say_ready(self) -> None:
        log.info("lambda host ready", function=self._worker.name, concurrency=self._concurrency)


async def run_schedule(
    sandbox: Sandbox, every_seconds: float, stopping: asyncio.Event, payload: bytes | None = None
) -> None:
    """Invoke at once and then at each interval, never twice at a time, until `stopping` is set.

    `payload` is the Input of the schedule, which then begins after an interval; None means the
    event of EventBridge itself.
    """
    loop = asyncio.get_running_loop()
    next_at = loop.time() if payload is None else loop.time() + every_seconds
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(next_at):
                await stopping.wait()
                return
        await sandbox.invoke(payload or _scheduled_event())
        next_at = max(next_at + every_seconds, loop.time())


def _scheduled_event() -> bytes:
    """Return what EventBridge sends (its User Guide, "Creating a rule that runs on a schedule")."""
    scheduled = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": DEFAULT_REGION,
        "resources": [f"arn:aws:events:{DEFAULT_REGION}:{ACCOUNT_ID}:rule/sweep"],
        "detail": {},
    }
    return json.dumps(scheduled).encode()


def _sqs_client(concurrency: int) -> "SQSClient":
    return boto3.client(
        "sqs",
        config=Config(
            connect_timeout=2,
            read_timeout=10,
            max_pool_connections=concurrency + 1,
            retries={"mode": "standard", "total_max_attempts": 2},
        ),
    )


def main(
    concurrency: Annotated[int, typer.Option(min=1, help="Worker invocations at once.")] = 2,
    worker: Annotated[str, typer.Option(metavar="HANDLER")] = "functions.worker.handler",
    reaper: Annotated[str, typer.Option(metavar="HANDLER")] = "functions.reaper.handler",
) -> None:
    """Run a worker function on the queue of QUEUE_URL, and a reaper on a schedule."""
    code = run_program(
        "lambda_host", lambda settings: LambdaHost(settings, concurrency, worker, reaper).run
    )
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)

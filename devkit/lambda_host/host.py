"""A worker function fed from the queue and a reaper on a schedule, and how both stop."""

import asyncio
from typing import TYPE_CHECKING

import boto3
import structlog
from botocore.config import Config

from devkit.lambda_host.event_source import SqsEventSource
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.sandbox import Sandbox, SandboxPool
from devkit.lambda_host.schedule import run_schedule
from devkit.lambda_host.stopping import StopSignals
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

TERMINATE_SECONDS = 2.0
"""What a function process gets between SIGTERM and SIGKILL (Lambda Developer Guide, "Understanding
the Lambda execution environment lifecycle", Shutdown phase: at most 2 s)."""

log = structlog.get_logger(__name__)


class LambdaHost:
    """Serves until SIGTERM or SIGINT, in an environment that leads boto3 to QUEUE_URL.

    Args:
        worker: Is fed from the queue.
        reaper: Is run each SWEEP_SECONDS.
        concurrency: The most worker invocations at once.
    """

    def __init__(
        self, settings: Settings, worker: LambdaFunction, reaper: LambdaFunction, concurrency: int
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._reaper = reaper
        self._concurrency = concurrency

    def run(self) -> None:
        """Serve until asked to stop, then wait for what runs; a second signal ends the wait."""
        asyncio.run(self._serve())
        log.info("lambda host stopped")

    async def _serve(self) -> None:
        stop = StopSignals()
        workers = SandboxPool(self._worker, self._concurrency)
        reaper = Sandbox(self._reaper)
        sqs = _sqs_client(self._concurrency)
        queue_url = self._settings.queue_url or ""
        source = SqsEventSource(sqs, queue_url, workers, self._say_ready)
        async with asyncio.TaskGroup() as group:
            work = (
                group.create_task(source.run(stop.asked)),
                group.create_task(run_schedule(reaper, self._settings.sweep_seconds, stop.asked)),
            )
            await stop.asked.wait()
            grace_seconds = self._settings.shutdown_grace_seconds
            log.info("lambda host stopping", grace_seconds=grace_seconds)
            if not await stop.wait_for(work, grace_seconds):
                await workers.terminate()
                await reaper.terminate()
                await stop.wait_for(work, TERMINATE_SECONDS)
            await workers.close()
            await reaper.close()
            # A call of SQS that hangs must not hold up the end.
            for task in work:
                task.cancel()

    def _say_ready(self) -> None:
        log.info("lambda host ready", function=self._worker.name, concurrency=self._concurrency)


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

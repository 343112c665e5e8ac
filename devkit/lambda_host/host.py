"""Composition of the local Lambda host, and the order in which it stops."""

import queue
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import FrameType
from typing import TYPE_CHECKING

import boto3
import structlog
from botocore.config import Config

from devkit.lambda_host.aws_environment import with_aws_variables
from devkit.lambda_host.event_source import SqsEventSource
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.function_pool import FunctionPool
from devkit.lambda_host.sandbox import Sandbox
from devkit.lambda_host.schedule import Schedule
from shared.errors import ConfigurationError
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

TERMINATE_SECONDS = 2.0
"""What a function process gets between SIGTERM and SIGKILL (Lambda Developer Guide, "Understanding
the Lambda execution environment lifecycle", Shutdown phase: at most 2 s)."""

_logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the command line says.

    Attributes:
        concurrency: The most worker invocations at once.
        worker: Handler that is fed from the queue.
        reaper: Handler that is run each SWEEP_SECONDS.
        freezes: Whether processes are stopped between invocations.
    """

    concurrency: int = 2
    worker: str = "functions.worker.handler"
    reaper: str = "functions.reaper.handler"
    freezes: bool = True


class _Wakeup(Enum):
    STOP_ASKED = "stop_asked"
    DRAINED = "drained"


class LambdaHost:
    """A worker function on a queue and a reaper on a schedule, until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: QUEUE_URL is not set.
    """

    def __init__(
        self, settings: Settings, options: HostOptions, environment: Mapping[str, str]
    ) -> None:
        if settings.queue_url is None:
            raise ConfigurationError("settings: QUEUE_URL is not set")
        aws_environment = with_aws_variables(environment, settings.queue_url)

        def function(handler: str) -> LambdaFunction:
            return LambdaFunction(
                handler, settings.time_limit, aws_environment, freezes=options.freezes
            )

        self._grace_seconds = settings.shutdown_grace_seconds
        self._workers = FunctionPool(function(options.worker), options.concurrency)
        self._reaper = Sandbox(function(options.reaper))
        self._schedule = Schedule(self._reaper, settings.sweep_seconds)
        self._event_source = SqsEventSource(
            _sqs_client(aws_environment, options.concurrency),
            settings.queue_url,
            self._workers,
            on_ready=self._say_ready,
        )
        # SimpleQueue.put may be called from a signal handler (queue module, "reentrant").
        self._wakeups: queue.SimpleQueue[_Wakeup] = queue.SimpleQueue()

    def run(self) -> None:
        """Serve until asked to stop, then wait for what runs; a second signal ends the wait."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._event_source.start()
        self._schedule.start()
        self._wakeups.get()
        _logger.info("lambda host stopping", grace_seconds=self._grace_seconds)
        self._event_source.stop()
        self._schedule.stop()
        threading.Thread(target=self._drain, name="drain", daemon=True).start()
        if not self._wakes_within(self._grace_seconds):
            self._workers.terminate()
            self._reaper.terminate()
            self._wakes_within(TERMINATE_SECONDS)
        self._workers.close()
        self._reaper.close()
        _logger.info("lambda host stopped")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._wakeups.put(_Wakeup.STOP_ASKED)

    def _drain(self) -> None:
        self._event_source.join()
        self._schedule.join()
        self._wakeups.put(_Wakeup.DRAINED)

    def _wakes_within(self, seconds: float) -> bool:
        try:
            self._wakeups.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def _say_ready(self) -> None:
        _logger.info(
            "lambda host ready",
            function=self._workers.function.name,
            concurrency=self._workers.concurrency,
        )


def _sqs_client(environment: Mapping[str, str], concurrency: int) -> "SQSClient":
    return boto3.client(
        "sqs",
        region_name=environment["AWS_REGION"],
        endpoint_url=environment.get("AWS_ENDPOINT_URL_SQS"),
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        config=Config(
            connect_timeout=2,
            read_timeout=10,
            max_pool_connections=concurrency + 1,
            retries={"mode": "standard", "total_max_attempts": 2},
        ),
    )

"""Composition of the gateway: socket, server and function, and the order in which it stops.

`python -m devkit.lambda_host.gateway` runs it.
"""

import asyncio
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from devkit.lambda_host.aws_environment import with_aws_variables
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.function_pool import FunctionPool
from devkit.lambda_host.gateway.app import GatewayApp
from local.web.server import WebServer, address_of, check_exposure, listen, server_config
from shared.errors import ConfigurationError
from shared.settings import Settings

GRACE_SECONDS = 2.0
"""How long a stopping gateway waits for what runs."""

FAREWELL_SECONDS = 0.3
"""What the answers to killed invocations need to get out; uvicorn looks each 0.1 s."""

_logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What the command line says.

    Attributes:
        port: 0 takes any that is free.
        handler: Dotted path of the function that answers.
        concurrency: The most requests at once.
        timeout_seconds: Of the function; an integration of an HTTP API may take 30 s at most.
        freezes: Whether processes are stopped between invocations.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    handler: str = "functions.api.handler"
    concurrency: int = 20
    timeout_seconds: float = 29.0
    freezes: bool = True


class HttpGateway:
    """An HTTP API with one function behind its `$default` route, until SIGTERM or SIGINT.

    Listens from the start: who connects before it is ready waits.

    Raises:
        ConfigurationError: QUEUE_URL is not set, or other machines would be served without keys.
        ServiceUnavailable: The port cannot be had.
    """

    def __init__(
        self, settings: Settings, options: GatewayOptions, environment: Mapping[str, str]
    ) -> None:
        check_exposure(settings, options.host)
        if settings.queue_url is None:
            raise ConfigurationError("settings: QUEUE_URL is not set")
        function = LambdaFunction(
            options.handler,
            options.timeout_seconds,
            with_aws_variables(environment, settings.queue_url),
            freezes=options.freezes,
        )
        self._pool = FunctionPool(function, options.concurrency)
        self._executor = ThreadPoolExecutor(options.concurrency, thread_name_prefix="invocation")
        self._socket = listen(options.host, options.port)
        self._server = WebServer(
            server_config(GatewayApp(self._pool, self._executor)), self._say_ready
        )
        self._stop_asked = asyncio.Event()
        self._haste_asked = asyncio.Event()

    def run(self) -> None:
        """Serve until asked to stop, then wait for what runs; a second signal ends the wait."""
        try:
            with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
                runner.run(self._serve())
        finally:
            self._pool.close()
            self._executor.shutdown()
        _logger.info("api stopped")

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        stopping = asyncio.create_task(self._stop_when_asked())
        await loop.run_in_executor(self._executor, self._warm)
        if not self._stop_asked.is_set():
            await self._server.serve(sockets=[self._socket])
        stopping.cancel()

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            self._haste_asked.set()
        self._stop_asked.set()

    async def _stop_when_asked(self) -> None:
        await self._stop_asked.wait()
        _logger.info("api stopping", grace_seconds=GRACE_SECONDS)
        self._server.should_exit = True
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._haste_asked.wait()
        except TimeoutError:
            pass
        # Whoever waits for a killed invocation gets an answer, and its connection ends.
        await asyncio.to_thread(self._pool.close)
        await asyncio.sleep(FAREWELL_SECONDS)
        self._server.force_exit = True

    def _warm(self) -> None:
        failure = self._pool.warm()
        if failure is not None and not self._stop_asked.is_set():
            _logger.error(
                "function_init_failed",
                function=self._pool.function.name,
                error_type=failure.error_type,
                error=failure.payload.decode(errors="replace"),
            )

    def _say_ready(self) -> None:
        _logger.info(
            "api ready",
            address=address_of(self._socket),
            function=self._pool.function.name,
            concurrency=self._pool.concurrency,
        )

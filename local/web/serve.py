"""The API of the local runtime: the FastAPI application under uvicorn.

`python -m local.api` runs it. At SIGTERM or SIGINT it ends the open event streams, and their
clients reconnect to its successor.
"""

import argparse
import asyncio
import logging
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from local.metrics import start_metrics
from local.open_files import open_files_max, streams_of, streams_of_a_workspace
from local.web.server import (
    WebServer,
    address_of,
    check_exposure,
    listen,
    run_program,
    server_config,
)
from local.web.sizes import GRACE_SECONDS, THREADS
from shared.access.stream_slots import StreamSlots
from shared.api.app import create_app
from shared.api.sse_streaming import LiveDelivery
from shared.events.hub import EventHub
from shared.generation.watch import JobWatcher
from shared.settings import Settings
from shared.wiring import Services

log = structlog.get_logger(__name__)


class Api:
    """One API process.

    Raises:
        ConfigurationError: It would serve other machines without API keys, or Redis is in cluster
            mode.
        ServiceUnavailable: The port cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        check_exposure(settings, settings.api_host)
        self._socket = listen(settings.api_host, settings.api_port)
        services = self._services = Services(settings, runtime="api", threads=THREADS)
        services.refuse_cluster_mode()
        self._hub = EventHub(settings.redis_url, settings.redis_keys)
        watcher = JobWatcher(
            self._hub, lambda ids: asyncio.to_thread(services.jobs.find_ended, ids)
        )
        files = open_files_max()
        limit = min(settings.max_streams, streams_of_a_workspace(files))
        slots = StreamSlots(services.redis, limit, prefix=settings.redis_prefix)
        self._delivery = LiveDelivery(
            watcher, services.follower, slots, streams_of(files), services.keys.find_revoked
        )
        app = create_app(services, self._delivery)
        config = server_config(app, timeout_graceful_shutdown=GRACE_SECONDS)
        self._server = WebServer(config, self._log_ready)
        start_metrics(services, lambda: len(self._delivery.streams))

    def run(self) -> None:
        """Serve until asked to stop."""
        # uvicorn says this of each slow client, which `sse_streaming` has logged.
        logging.getLogger("uvicorn.error").addFilter(
            lambda record: "without completing response" not in record.getMessage()
        )
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())
        self._services.close()
        log.info("api stopped")

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="api"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await self._server.serve(sockets=[self._socket])
        await self._hub.close()

    def _on_signal(self) -> None:
        if self._server.should_exit:
            self._server.force_exit = True
            return
        self._server.should_exit = True
        self._delivery.end_streams()

    def _log_ready(self) -> None:
        log.info("api ready", address=address_of(self._socket))


def main(arguments: Sequence[str]) -> int:
    """Run the API; return its exit code."""
    argparse.ArgumentParser("python -m local.api", description=__doc__).parse_args(arguments)
    return run_program("api", lambda settings: Api(settings).run)

"""The API of the local runtime: the FastAPI application under uvicorn.

`python -m local.api` runs it.

Stops at SIGTERM or SIGINT: open event streams are told to come back, and do so to whichever
process serves the address then.
"""

import argparse
import asyncio
import logging
import signal
from collections.abc import Sequence

import structlog

from local.web.server import WebServer, address_of, check_exposure, listen, server_config
from local.web.service import run_service
from local.web.sizes import GRACE_SECONDS, THREADS
from shared.access.api_keys import ApiKeyStore
from shared.access.stream_slots import StreamSlots
from shared.api.app import create_app
from shared.api.live_delivery import LiveDelivery
from shared.api.parts import ApiParts, Threads
from shared.events.hub import EventHub
from shared.generation.watch import JobWatcher
from shared.jobs.views import JobViews
from shared.settings import Settings
from shared.wiring import Services

log = structlog.get_logger(__name__)


class Api:
    """One API process.

    Raises:
        ConfigurationError: It would serve other machines without API keys.
        ServiceUnavailable: The port cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        check_exposure(settings, settings.api_host)
        self._socket = listen(settings.api_host, settings.api_port)
        self._services = Services(settings, runtime="api", threads=THREADS)
        threads = Threads(THREADS)
        self._hub = EventHub(settings.redis_url)
        self._delivery = LiveDelivery(
            JobWatcher(
                self._hub,
                lambda job_ids: threads.run(self._services.jobs.find_ended, job_ids),
            ),
            self._services.follower,
            StreamSlots(self._services.redis, settings.max_streams),
            threads.run,
        )
        app = create_app(_parts_of(self._services, self._delivery, threads))
        config = server_config(app, timeout_graceful_shutdown=GRACE_SECONDS)
        self._server = WebServer(config, self._say_ready)

    def run(self) -> None:
        """Serve until asked to stop."""
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())
        self._services.close()
        log.info("api stopped")

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
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

    def _say_ready(self) -> None:
        log.info("api ready", address=address_of(self._socket))


def _parts_of(services: Services, delivery: LiveDelivery, threads: Threads) -> ApiParts:
    views = JobViews(services.engine)
    return ApiParts(
        settings=services.settings,
        keys=ApiKeyStore(services.engine),
        submitter=services.submitter,
        canceller=services.canceller,
        deleter=services.deleter,
        assets=services.assets,
        jobs=services.jobs,
        views=views,
        image_store=services.image_store,
        delivery=delivery,
        threads=threads,
        checks={
            "database": views.check,
            "redis": services.check_redis,
            "queue": services.dispatcher.check,
        },
    )


def _forget_cut_off_streams(record: logging.LogRecord) -> bool:
    # What uvicorn says of each client that does not read; `live_delivery` has logged it.
    return "without completing response" not in record.getMessage()


def _build(settings: Settings) -> Api:
    logging.getLogger("uvicorn.error").addFilter(_forget_cut_off_streams)
    return Api(settings)


def main(arguments: Sequence[str]) -> int:
    """Run the API; return its exit code."""
    parser = argparse.ArgumentParser("python -m local.api", description=__doc__)
    parser.parse_args(arguments)
    return run_service("api", _build)

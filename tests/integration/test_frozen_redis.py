"""A Redis that is frozen costs one caller at a time some seconds, and no one else."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from devkit.stack import EmbeddedRedis
from shared.adapters.celery_queue import CeleryDispatcher
from shared.imaging.request import GenerationRequest
from shared.settings import Settings
from shared.status import JobStatus
from shared.wiring import Services
from tests.support.database import Database

THREADS = 4
SLOW_SECONDS = 1.0


def test_submissions_do_not_queue_for_a_frozen_redis(
    settings: Settings, redis_server: EmbeddedRedis, database: Database
) -> None:
    """Those that meet it first wait for a timeout; envelopes and events share what they learn."""
    with (
        closing(CeleryDispatcher(settings)) as dispatcher,
        closing(Services(settings, dispatcher=dispatcher, threads=THREADS)) as services,
    ):
        services.releases.note_worker("host:1", 50, "0", 600)
        services.submit(GenerationRequest(prompt="a mug"))

        def submit(_number: int) -> float:
            began_at = time.monotonic()
            job = services.submit(GenerationRequest(prompt="a mug"))
            assert services.get(job.id).status is JobStatus.PENDING
            return time.monotonic() - began_at

        redis_server.pause()
        with ThreadPoolExecutor(THREADS) as pool:
            seconds = list(pool.map(submit, range(10 * THREADS)))
        slow = [each for each in seconds if each > SLOW_SECONDS]
        assert len(slow) <= THREADS + 1
        redis_server.resume()

"""The children of a Celery worker share with their parent what they can."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from shared.imaging.request import GenerationRequest
from shared.settings import Settings
from shared.wiring import Services
from tests.performance.memory import measure_memory
from tests.support.bucket import Bucket
from tests.support.collector import Collector
from tests.support.images_api import ImagesApi

IDLE_SHARE, BUSY_SHARE = 0.15, 0.3
"""Of the main process, at most, that a child may hold alone."""

JOB_IN_A_WORKER = """
import json, os, sys
from local.celery_app import celery_app
from local.worker.memory import load_job_code
from shared import tracing
from shared.deadline import Deadline

celery_app.loader.import_default_modules()
load_job_code(celery_app.darkroom_settings)
from local.worker.tasks import handler_of
before = set(sys.modules)
outcome = handler_of(os.getpid()).handle(sys.argv[1], Deadline(60))
tracing.flush()
print(json.dumps([type(outcome).__name__, sorted(set(sys.modules) - before)]))
"""

PICTURES_COME_AND_GO = """
import psutil
from local.worker.memory import freeze

freeze()
held = lambda: psutil.Process().memory_full_info().uss
bytearray(8_000_000)
before = held()
kept = []
for _ in range(20):
    picture = bytearray(2_000_000)
    kept.append(bytearray(100_000))
    del picture
print(held() - before - sum(map(len, kept)))
"""


@pytest.fixture(params=["mock", "openai", "bucket", "traces"])
def environment(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Mapping[str, str]]:
    """Give the environment of a worker: with each provider, each image store, and traces."""
    with ExitStack() as servers:
        environment = {
            **os.environ,
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "MOCK_STEP_SECONDS": "0",
        }
        if request.param == "openai":
            environment |= servers.enter_context(ImagesApi()).environment
        if request.param == "bucket":
            environment |= servers.enter_context(Bucket()).environment
        if request.param == "traces":
            collector = servers.enter_context(Collector())
            environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        yield environment


def run(environment: Mapping[str, str], *words: str) -> str:
    """Run a program of Python and return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return ran.stdout


def test_a_child_imports_nothing_for_a_job(
    environment: Mapping[str, str], settings: Settings, tmp_path: str
) -> None:
    """What one child imports, each child holds alone."""
    with Services(settings) as services:
        job = services.submit(GenerationRequest(prompt="a red mug", size="1024x1024"))
    written = run({**environment, "IMAGE_DIR": str(tmp_path)}, JOB_IN_A_WORKER, str(job.id))
    assert json.loads(written.splitlines()[-1]) == ["Completed", []]


def test_a_picture_that_is_freed_leaves_no_hole() -> None:
    """However large those before it were: glibc would keep the room for the next."""
    assert int(run(os.environ, PICTURES_COME_AND_GO)) < 1_000_000


def test_a_child_holds_little_alone() -> None:
    """Before its first job and after some: the rest is shared, and no picture is kept."""
    memory = measure_memory(slots=2)
    assert memory.idle_slot < memory.main * IDLE_SHARE
    assert memory.slot < memory.main * BUSY_SHARE, memory.describe()

"""The flow that everything else is about: a task on the real queue, a real Celery worker.

A foreign producer writes a row and sends a bare task; a subscriber of the channel reads
the progress; the rows say how it went.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from devkit.runtimes import RuntimeProcess
from devkit.stack import EmbeddedRedis
from shared.adapters.celery_broker import broker_url
from shared.adapters.disk_images import DiskImageStore
from tests.support.channel import ChannelReader, RedisClient
from tests.support.database import Database
from tests.support.wait import wait_until

PARAMS = '{"prompt": "a red mug", "size": "256x256", "n": 2, "seed": 7}'
MESSAGES = [
    '{"status": "pending", "progress": 0, "message": "Queued"}',
    '{"status": "processing", "progress": 5, "message": "Starting..."}',
    '{"status": "processing", "progress": 10, "message": "Processing..."}',
    '{"status": "processing", "progress": 30, "message": "Rendering..."}',
    '{"status": "processing", "progress": 50, "message": "Rendering..."}',
    '{"status": "processing", "progress": 70, "message": "Rendering..."}',
    '{"status": "processing", "progress": 90, "message": "Rendering..."}',
    '{"status": "processing", "progress": 95, "message": "Saving..."}',
    '{"status": "completed", "progress": 100, "message": "Completed"}',
]


@pytest.fixture
def worker(
    database_url: str, redis_server: EmbeddedRedis, tmp_path: Path
) -> Iterator[RuntimeProcess]:
    """Give a Celery worker, ready for jobs."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_server.url,
        "IMAGE_DIR": str(tmp_path / "images"),
        "MOCK_STEP_SECONDS": "0.02",
    }
    with RuntimeProcess("celery", environment, tmp_path / "log", 1).running() as worker:
        yield worker


@pytest.fixture
def producer(redis_server: EmbeddedRedis) -> Iterator[Celery]:
    """Give an application that knows the broker, and nothing of this project."""
    app = Celery("shop", broker=broker_url(redis_server.url), set_as_current=False)
    yield app
    app.close()


def test_a_bare_task_runs_the_job_that_it_names(
    worker: RuntimeProcess,
    producer: Celery,
    database: Database,
    redis: RedisClient,
    tmp_path: Path,
) -> None:
    """The row's task id names the channel, whatever id Celery gave the message."""
    job_id, task_id = database.insert_job(params=PARAMS)
    with ChannelReader(redis, f"task_updates:{task_id}") as reader:
        sent = producer.send_task(
            "generate_images_task", args=[str(job_id)], queue="image_generation"
        )
        assert reader.read(len(MESSAGES), within=30) == MESSAGES
    assert sent.id != task_id
    row = wait_until(
        lambda: (row := database.job(job_id))["announced_at"] and row, 10, "the end to be noted"
    )
    assert (row["status"], row["progress"], row["attempt"]) == ("COMPLETED", 100, 1)
    assert (row["lease_owner"], row["error"]) == (None, None)
    images = database.images(job_id)
    assert [image["position"] for image in images] == [0, 1]
    assert [image["url"] for image in row["result"]["images"]] == [i["url"] for i in images]
    store = DiskImageStore(tmp_path / "images")
    assert all(store.load(i["storage_key"]).startswith(b"\x89PNG") for i in images)
    (attempt,) = database.attempts(job_id)
    assert (attempt["runtime"], attempt["outcome"]) == ("celery", "completed")
    assert redis.get(f"celery-task-meta-{sent.id}") is None
    assert redis.get(f"celery-task-meta-{task_id}") is not None

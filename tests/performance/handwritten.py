"""The measure of the worker: the Celery task that a good developer writes by hand.

Fixed in writing, so that ratios stay comparable: psycopg2 without a pool or an ORM, two commits
(the start; the end with its image), one PUBLISH for each message, Celery's own result, the bytes
drawn by the same code and written with one call. No claim, no lease, no fence, no stream, no
retry, no cancel, no limit of its own. It fills the same rows of the same tables.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
from celery import Celery
from redis import Redis

from shared.adapters.celery_broker import broker_url
from shared.imaging.mock_print import MockPrint, draw_png

QUEUE = "handwritten"
SIZE_PX = 256

app = Celery(
    "handwritten",
    broker=broker_url(os.environ["REDIS_URL"]),
    backend=broker_url(os.environ["REDIS_URL"]),
)
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)


class _Process:
    """The connections of one child, made at its first task."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.database = psycopg2.connect(os.environ["DATABASE_URL"])
        self.redis = Redis.from_url(os.environ["REDIS_URL"])
        self.folder = Path(os.environ["IMAGE_DIR"])


_process: _Process | None = None


@app.task  # type: ignore[untyped-decorator] # Celery has no types
def handwritten_task(job_id: str) -> dict[str, object]:
    """Make one image and publish its progress."""
    global _process
    if _process is None or _process.pid != os.getpid():
        _process = _Process()
    task_id, params = _start(_process, job_id)
    channel = f"task_updates:{task_id}"
    _publish(_process, channel, "processing", 5, "Starting...")
    _publish(_process, channel, "processing", 10, "Processing...")
    for progress in (30, 50, 70):
        _publish(_process, channel, "processing", progress, "Rendering...")
    data = draw_png(MockPrint(params["prompt"], params["style"], SIZE_PX, SIZE_PX, params["seed"]))
    _publish(_process, channel, "processing", 90, "Rendering...")
    _publish(_process, channel, "processing", 95, "Saving...")
    key = f"{job_id}/1/0"
    path = _process.folder / key
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    url = _finish(_process, job_id, key, data, params["seed"])
    _publish(_process, channel, "completed", 100, "Completed")
    return {"job_id": job_id, "images": [url]}


def _publish(process: _Process, channel: str, status: str, progress: int, message: str) -> None:
    step = {"status": status, "progress": progress, "message": message}
    process.redis.publish(channel, json.dumps(step))


def _start(process: _Process, job_id: str) -> tuple[str, dict[str, Any]]:
    with process.database, process.database.cursor() as cursor:
        cursor.execute(
            "UPDATE generation_jobs SET status = 'PROCESSING', progress = 5,"
            " message = 'Starting...', attempt = 1, lease_token = 1, lease_owner = 'me',"
            " lease_until = now() + interval '1 hour', time_limit_at = now() + interval '1 hour',"
            " started_at = now() WHERE id = %s RETURNING task_id, params",
            (job_id,),
        )
        task_id, params = cursor.fetchone() or ("", {})
        cursor.execute(
            "INSERT INTO generation_attempts (job_id, number, token, runtime)"
            " VALUES (%s, 1, 1, 'celery')",
            (job_id,),
        )
    return task_id, params


def _finish(process: _Process, job_id: str, key: str, data: bytes, seed: int) -> str:
    image_id = str(uuid4())
    url = f"/v1/images/{image_id}"
    result = {"images": [{"id": image_id, "url": url, "position": 0}], "missing": 0}
    with process.database, process.database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO images (id, job_id, position, url, storage_key, media_type, width_px,"
            " height_px, size_bytes, sha256, seed, provider, model)"
            " VALUES (%s, %s, 0, %s, %s, 'image/png', %s, %s, %s, %s, %s, 'mock', 'mock-1')",
            (
                *(image_id, job_id, url, key, SIZE_PX, SIZE_PX, len(data)),
                *(hashlib.sha256(data).hexdigest(), seed),
            ),
        )
        cursor.execute(
            "UPDATE generation_attempts SET finished_at = now(), outcome = 'completed',"
            " charge_state = 'none' WHERE job_id = %s",
            (job_id,),
        )
        cursor.execute(
            "UPDATE generation_jobs SET status = 'COMPLETED', progress = 100,"
            " message = 'Completed', result = %s, finished_at = now(), announced_at = now(),"
            " lease_until = NULL, lease_owner = NULL, time_limit_at = NULL WHERE id = %s",
            (json.dumps(result), job_id),
        )
    return url

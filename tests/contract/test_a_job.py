"""A job that meets no trouble: its messages, its rows, its images, its owners."""

import hashlib
import io
import json
from datetime import timedelta

from PIL import Image as Picture

from shared.imaging.providers.mock import MockSettings
from tests.support.runtime import Runtime

PLAIN = [
    {"status": "pending", "progress": 0, "message": "Queued"},
    {"status": "processing", "progress": 5, "message": "Starting..."},
    {"status": "processing", "progress": 10, "message": "Processing..."},
    {"status": "processing", "progress": 30, "message": "Rendering..."},
    {"status": "processing", "progress": 50, "message": "Rendering..."},
    {"status": "processing", "progress": 70, "message": "Rendering..."},
    {"status": "processing", "progress": 90, "message": "Rendering..."},
    {"status": "processing", "progress": 95, "message": "Saving..."},
    {"status": "completed", "progress": 100, "message": "Completed"},
]
PLAIN_BYTES = [json.dumps(step) for step in PLAIN]


def test_plain_job_publishes_exactly_the_messages_of_the_spec(runtime: Runtime) -> None:
    """The channel and the stream carry the same bytes, from Queued to Completed."""
    job = runtime.submit("a red mug")
    runtime.finish(job)
    assert runtime.messages(job, len(PLAIN)) == PLAIN_BYTES
    assert [step.as_json() for step in runtime.steps(job)] == PLAIN_BYTES


def test_rows_of_a_plain_job_hold_one_attempt_and_its_end(runtime: Runtime) -> None:
    """One completed attempt that cost nothing, in order of time, with nothing left open."""
    job = runtime.submit("a red mug", metadata={"order": "7"})
    rows = runtime.finish(job)
    expected = {
        "task_id": job.task_id,
        "workspace_id": "default",
        "user_id": None,
        "product_id": None,
        "status": "COMPLETED",
        "progress": 100,
        "message": "Completed",
        "error": None,
        "attempt": 1,
        "max_attempts": 3,
        "next_attempt_at": None,
        "lease_until": None,
        "lease_owner": None,
        "cancel_requested_at": None,
    }
    assert {name: rows.job[name] for name in expected} == expected
    assert rows.job["params"] == job.params
    assert job.params["metadata"] == {"order": "7"}
    [attempt] = rows.attempts
    assert attempt["number"] == 1
    assert attempt["token"] == rows.job["lease_token"]
    assert attempt["outcome"] == "completed"
    assert attempt["error"] is None
    assert attempt["charge_state"] == "none"
    times = ("created_at", "started_at", "finished_at", "announced_at")
    assert [rows.job[name] for name in times] == sorted(rows.job[name] for name in times)
    assert attempt["started_at"] == rows.job["started_at"]
    assert attempt["finished_at"] == rows.job["finished_at"]
    assert rows.job["finished_at"] - rows.job["started_at"] >= timedelta(
        seconds=4 * MockSettings.of(runtime.settings).mock_step_seconds
    )


def test_each_image_of_a_job_has_a_row_that_fits_its_bytes(runtime: Runtime) -> None:
    """Three images: positions, keys, digests, seeds and sizes, and the same in the result."""
    job = runtime.submit("three red mugs", n=3, seed=41)
    rows = runtime.finish(job)
    assert [image["position"] for image in rows.images] == [0, 1, 2]
    assert [image["storage_key"] for image in rows.images] == [f"{job.id}/1/{k}" for k in range(3)]
    assert [image["seed"] for image in rows.images] == [41, 42, 43]
    assert len({image["sha256"] for image in rows.images}) == 3
    for image in rows.images:
        data = runtime.services.image_store.load(image["storage_key"])
        assert image["size_bytes"] == len(data)
        assert image["sha256"] == hashlib.sha256(data).hexdigest()
        assert (image["width_px"], image["height_px"]) == Picture.open(io.BytesIO(data)).size
        assert (image["media_type"], image["provider"]) == ("image/png", "mock")
        assert image["url"] == f"/v1/images/{image['id']}"
    shown = ("id", "position", "url", "media_type", "width_px", "height_px")
    assert rows.job["result"] == {
        "images": [{name: image[name] for name in shown} for image in rows.images],
        "missing": 0,
    }


def test_same_request_gives_the_same_pictures_again(runtime: Runtime) -> None:
    """Prompt, style, size, seed, position and attempt decide every byte."""
    jobs = [runtime.submit("a blue mug", style="minimal", seed=5) for _ in range(2)]
    first, second = [runtime.finish(job).images[0] for job in jobs]
    assert first["sha256"] == second["sha256"]
    assert first["storage_key"] != second["storage_key"]


def test_job_belongs_to_its_user_and_product(runtime: Runtime) -> None:
    """The owners named by the request stand in the row, to the end."""
    with runtime.database() as cursor:
        cursor.execute(
            "INSERT INTO users (id, workspace_id) VALUES ('ann', 'default') ON CONFLICT DO NOTHING"
        )
        cursor.execute(
            "INSERT INTO products (id, workspace_id, name) VALUES ('mug', 'default', 'Mug')"
            " ON CONFLICT DO NOTHING"
        )
    row = runtime.finish(runtime.submit("a mug", user_id="ann", product_id="mug")).job
    assert (row["workspace_id"], row["user_id"], row["product_id"]) == ("default", "ann", "mug")


def test_row_of_a_foreign_producer_runs_like_any_other(runtime: Runtime) -> None:
    """A bare row and a bare envelope give the same messages, on the row's task id."""
    job = runtime.write_row({"prompt": "a red mug", "size": "256x256"})
    runtime.queue.send(str(job.id))
    rows = runtime.finish(job)
    assert runtime.messages(job, len(PLAIN)) == PLAIN_BYTES
    assert rows.job["status"] == "COMPLETED"
    assert len(rows.images) == 1

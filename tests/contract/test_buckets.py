"""Pictures in a bucket instead of a folder: the same jobs, and addresses that lead there."""

from collections.abc import Iterator, Mapping
from hashlib import sha256

import httpx
import pytest

from tests.support.api import OTHER_WORKSPACE
from tests.support.bucket import Bucket
from tests.support.faults import kill_process
from tests.support.images_api import png
from tests.support.runtime import Runtime
from tests.support.story import outcomes, storage_keys
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """Give a bucket."""
    with Bucket() as bucket:
        yield bucket


@pytest.fixture(scope="module")
def own_settings(bucket: Bucket) -> Mapping[str, str]:
    """Have pictures kept there, for a month."""
    return {"RETENTION_DAYS": "30", **bucket.environment}


@pytest.fixture
def keeping(own_runtime: Runtime, bucket: Bucket) -> Iterator[Runtime]:
    """Give the runtime, and an empty bucket."""
    yield own_runtime
    bucket.clear()


def test_pictures_are_fetched_from_the_bucket(keeping: Runtime, bucket: Bucket) -> None:
    """By addresses that are signed when they are asked for, and stand in no log."""
    api = keeping.api
    job = api.finish(api.submit("a red mug", n=2))
    assert bucket.keys == [f"{job['id']}/1/0", f"{job['id']}/1/1"]
    image = job["images"][1]
    stored = bucket.client.head_object(Bucket=bucket.name, Key=bucket.keys[1])
    assert (stored["ContentType"], stored["ContentLength"]) == ("image/png", image["size_bytes"])
    redirect = httpx.get(f"{api.url}{image['url']}")
    assert (redirect.status_code, redirect.headers["cache-control"]) == (307, "no-store")
    address = redirect.headers["location"]
    assert address.startswith(f"{bucket.origin}/{bucket.name}/")
    assert "X-Amz-Signature=" in address
    picture = httpx.get(address)
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert sha256(picture.content).hexdigest() == image["sha256"]
    saved = httpx.get(f"{api.url}{image['url']}&download=1", follow_redirects=True)
    assert saved.headers["content-disposition"].startswith("attachment; filename=")
    assert "Signature" not in str(api.log.lines()) + str(keeping.log_lines())
    assert not (keeping.image_dir / job["id"]).exists()
    policy = api.client.get("/").headers["content-security-policy"]
    assert f"img-src 'self' data: blob: {bucket.origin};" in policy


def test_deleted_job_leaves_nothing_in_the_bucket(keeping: Runtime, bucket: Bucket) -> None:
    """And takes nothing of others along."""
    api = keeping.api
    jobs = [api.finish(api.submit("a mug")) for _ in range(2)]
    for job in jobs:
        wait_until(lambda job=job: keeping.job_is_announced(job), 20, "the end to be announced")  # type: ignore[misc]
    with api.client_of(OTHER_WORKSPACE) as stranger:
        assert api.problem(stranger.delete(jobs[0]["urls"]["self"])) == (404, "not_found")
    assert api.client.delete(jobs[0]["urls"]["self"]).status_code == 204
    assert bucket.keys == [f"{jobs[1]['id']}/1/0"]


def test_old_jobs_are_deleted_from_the_bucket(keeping: Runtime, bucket: Bucket) -> None:
    """By the sweep."""
    api = keeping.api
    job = api.finish(api.submit("a mug"))
    wait_until(lambda: keeping.job_is_announced(job), 20, "the end to be announced")
    with keeping.database() as cursor:
        cursor.execute("UPDATE generation_jobs SET finished_at = now() - interval '31 days'")
    url = job["urls"]["self"]
    wait_until(lambda: api.client.get(url).status_code == 404, 20, "the job to be deleted")
    assert bucket.keys == []


def test_picture_of_a_dead_worker_is_found_in_the_bucket(keeping: Runtime, bucket: Bucket) -> None:
    """And is not made again."""
    with keeping.locked_images():
        job = keeping.submit("a mug")
        wait_until(lambda: bucket.keys, 20, "the picture to be kept")
        kill_process(keeping, keeping.worker_pid(job))
    rows = keeping.finish(job)
    assert (outcomes(rows), storage_keys(rows)) == (["lost", "completed"], [f"{job.id}/1/0"])
    assert bucket.keys == [f"{job.id}/1/0"]


def test_reference_lies_in_the_bucket(keeping: Runtime, bucket: Bucket) -> None:
    """Until it is deleted."""
    api = keeping.api
    headers = {"Content-Type": "image/png"}
    asset = api.client.post("/v1/assets", content=png(90, 60), headers=headers).json()
    assert bucket.keys == [f"assets/{asset['id']}"]
    content = httpx.get(f"{api.url}{asset['url']}", follow_redirects=True)
    assert sha256(content.content).hexdigest() == asset["sha256"]
    job = api.finish(api.submit("a mug", source_asset_id=asset["id"]))
    assert job["status"] == "completed"
    assert api.client.delete(f"/v1/assets/{asset['id']}").status_code == 204
    assert bucket.keys == [f"{job['id']}/1/0"]


def test_job_waits_for_a_bucket_that_is_unavailable(keeping: Runtime, bucket: Bucket) -> None:
    """Its picture is made once, and kept when the bucket is there again."""
    bucket.client.delete_bucket(Bucket=bucket.name)
    job = keeping.submit("a mug")
    wait_until(
        lambda: any(line.get("event") == "write repeated" for line in keeping.log_lines()),
        20,
        "the picture to be tried again",
    )
    bucket.client.create_bucket(Bucket=bucket.name)
    rows = keeping.finish(job)
    assert (outcomes(rows), storage_keys(rows)) == (["completed"], [f"{job.id}/1/0"])

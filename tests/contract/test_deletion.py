"""Jobs are deleted with everything that is theirs: on a wish, or when their time is over."""

from uuid import uuid4

from shared.jobs.model import Job
from tests.support.api import OTHER_WORKSPACE
from tests.support.faults import other_settings
from tests.support.runtime import Runtime
from tests.support.wait import wait_until


def test_deleted_job_is_gone_with_its_pictures(runtime: Runtime) -> None:
    """Rows and bytes; only the job's workspace can do it, and only once."""
    api = runtime.api
    job = api.finish(api.submit("a red mug", n=2))
    other = api.finish(api.submit("a blue mug"))
    wait_until(lambda: runtime.job_is_announced(job), 20, "the end to be announced")
    assert len(list((runtime.image_dir / job["id"]).glob("1/[01]"))) == 2
    url = job["urls"]["self"]
    with api.client_of(OTHER_WORKSPACE) as stranger:
        assert api.problem(stranger.delete(url)) == (404, "not_found")
    assert api.client.delete(url).status_code == 204
    assert not (runtime.image_dir / job["id"]).exists()
    for gone in (url, job["images"][0]["url"]):
        assert api.problem(api.client.get(gone)) == (404, "not_found")
    assert api.problem(api.client.delete(url)) == (404, "not_found")
    listed = api.client.get("/v1/generations").json()["items"]
    assert [item["id"] for item in listed] == [other["id"]]
    assert api.client.get(other["images"][0]["url"]).status_code == 200


def test_job_that_runs_is_not_deleted(runtime: Runtime) -> None:
    """It is to be cancelled first."""
    api = runtime.api
    job = api.submit("a mug [[hang]]")
    wait_until(lambda: api.get(job)["progress"] >= 5, 20, "the job to run")
    assert api.problem(api.client.delete(job["urls"]["self"])) == (409, "job_running")
    api.client.post(job["urls"]["cancel"])
    api.finish(job)
    wait_until(lambda: runtime.job_is_announced(job), 20, "the end to be announced")
    assert api.client.delete(job["urls"]["self"]).status_code == 204


def test_jobs_are_deleted_when_their_time_is_over(runtime: Runtime) -> None:
    """By the sweep; those that ended later stay."""
    with other_settings(runtime, RETENTION_DAYS="30"):
        old, new = runtime.submit("an old mug"), runtime.submit("a new mug")
        for job in (old, new):
            runtime.finish(job)
        _age(runtime, old, days=31)
        _age(runtime, new, days=29)
        wait_until(lambda: not _exists(runtime, old), 20, "the old job to be deleted")
        assert not (runtime.image_dir / str(old.id)).exists()
        assert _exists(runtime, new)
        assert (runtime.image_dir / str(new.id)).exists()


def test_images_of_no_job_are_deleted(runtime: Runtime) -> None:
    """An attempt saved them after its job was deleted, say; those of other jobs stay."""
    job = runtime.submit("a mug")
    runtime.finish(job)
    orphan = runtime.image_dir / str(uuid4())
    (orphan / "1").mkdir(parents=True)
    (orphan / "1" / "0").write_bytes(b"late")
    wait_until(lambda: not orphan.exists(), 20, "the images to be deleted")
    assert runtime.saved_keys(job) == [f"{job.id}/1/0"]


def _age(runtime: Runtime, job: Job, days: int) -> None:
    with runtime.database() as cursor:
        cursor.execute(
            "UPDATE generation_jobs SET finished_at = now() - make_interval(days => %s)"
            " WHERE id = %s",
            (days, str(job.id)),
        )


def _exists(runtime: Runtime, job: Job) -> bool:
    with runtime.database() as cursor:
        cursor.execute("SELECT FROM generation_jobs WHERE id = %s", (str(job.id),))
        return cursor.fetchone() is not None

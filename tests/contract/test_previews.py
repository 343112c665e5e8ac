"""Previews over HTTP: shown to their workspace while their attempt runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from shared.imaging.pictures import measure
from tests.support.api import OTHER_WORKSPACE, http_get, job_id_of
from tests.support.faults import warm_up
from tests.support.runtime import Runtime
from tests.support.story import PLAIN, lines_of, outcomes
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def own_settings() -> Mapping[str, str]:
    """Leave time to look at each preview."""
    return {"SOFT_TIME_LIMIT": "60", "TIME_LIMIT": "90"}


@pytest.fixture
def runtime(own_runtime: Runtime) -> Runtime:
    """Give the module's own runtime."""
    return own_runtime


def previews_of(runtime: Runtime, job: Mapping[str, Any], at_least: int) -> list[dict[str, Any]]:
    """Return a job's previews once there are so many."""

    def shown() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = runtime.api.get(job)["previews"]
        return found if len(found) >= at_least else None

    return wait_until(shown, 30, f"{at_least} previews")


def files_of(runtime: Runtime, job: Mapping[str, Any]) -> list[Path]:
    """Return the files that hold previews of a job."""
    return sorted((runtime.image_dir / job["id"]).glob("*/*.preview"))


def wait_until_bytes_are_gone(runtime: Runtime, job: Mapping[str, Any]) -> None:
    """Wait until no preview of a job lies in the store."""
    try:
        wait_until(lambda: not files_of(runtime, job), 20, "the bytes to be deleted")
    except AssertionError as error:
        said = [line for line in runtime.log_lines() if line.get("job_id") == job["id"]]
        raise AssertionError(f"{error}: {files_of(runtime, job)}; {said}") from None


def test_previews_are_shown_while_the_job_runs_and_gone_at_its_end(runtime: Runtime) -> None:
    """Their bytes are those that the attempt stored; no cache keeps them."""
    api = runtime.api
    assert api.submit("a mug [[reject]]")["previews"] == []
    job = api.submit("a red mug [[preview]] [[hang]]", n=2)
    previews = previews_of(runtime, job, 2)
    paths = files_of(runtime, job)
    assert [path.name for path in paths] == ["0.preview", "1.preview"]
    for position, (preview, path) in enumerate(zip(previews, paths, strict=True)):
        assert (preview["position"], preview["number"]) == (position, 1)
        answer = http_get(api.url + preview["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content == path.read_bytes()
        measured = measure(answer.content)
        size = (measured.width_px, measured.height_px)
        assert size == (preview["width_px"], preview["height_px"]) == (32, 32)
    api.client.post(job["urls"]["cancel"])
    ended = api.finish(job)
    assert (ended["error"]["code"], ended["previews"]) == ("cancelled", [])
    for preview in previews:
        gone = http_get(api.url + preview["url"])
        assert api.problem(gone) == (404, "not_found")
    wait_until_bytes_are_gone(runtime, job)
    wait_until(lambda: _rows(runtime, job) == [], 20, "the rows to be deleted")


def test_previews_of_another_workspace_cannot_be_seen(runtime: Runtime) -> None:
    """A key or a token opens what is its own."""
    api = runtime.api
    job = api.submit("a red mug [[preview]] [[hang]]")
    [preview] = previews_of(runtime, job, 1)
    path = preview["url"].partition("?")[0]
    with api.client_of(OTHER_WORKSPACE) as stranger, api.client_of(None) as keyless:
        assert api.problem(stranger.get(job["urls"]["self"])) == (404, "not_found")
        assert api.problem(stranger.get(path)) == (404, "not_found")
        assert api.problem(keyless.get(path)) == (401, "unauthorized")
        forged = preview["url"].replace("token=", "token=x")
        assert api.problem(keyless.get(forged)) == (401, "invalid_token")
        other = path.rpartition("/")[0] + f"/{uuid4()}?" + preview["url"].partition("?")[2]
        assert api.problem(keyless.get(other)) == (401, "invalid_token")
        image = preview["url"].replace("/previews/", "/images/")
        assert api.problem(keyless.get(image)) == (401, "invalid_token")
        assert keyless.get(preview["url"]).status_code == 200
    assert api.client.get(path).status_code == 200
    api.client.post(job["urls"]["cancel"])
    api.finish(job)


def test_previews_change_nothing_in_the_course_of_a_job(runtime: Runtime) -> None:
    """The same steps and the same image; each preview is stored before its step is published."""
    job = runtime.submit("a red mug [[preview]]")
    rows = runtime.finish(job)
    assert runtime.steps(job) == PLAIN
    plain = runtime.finish(runtime.submit("a red mug"))
    assert [row["sha256"] for row in rows.images] == [row["sha256"] for row in plain.images]
    wait_until_bytes_are_gone(runtime, {"id": str(job.id)})


def test_attempt_that_lost_its_lease_shows_nothing_any_more(runtime: Runtime) -> None:
    """It wakes up, stores one more preview without effect, and ends; its successor's stand."""
    warm_up(runtime)
    job = runtime.api.submit("a red mug [[preview]] [[slow:8]]")
    first = runtime.services.get(job_id_of(job))
    [early] = previews_of(runtime, job, 1)
    with runtime.frozen_worker(first):
        runtime.wait_for_step(first, 30, attempt=2)
        [later] = previews_of(runtime, job, 1)
        assert later["number"] > early["number"]
        token = runtime.rows(first).job["lease_token"]
        noted = _rows(runtime, job)
    wait_until(lambda: lines_of(runtime, first, "attempt overtaken"), 20, "the late end")
    assert {row["token"] for row in noted + _rows(runtime, job)} == {token}
    rows = runtime.finish(first)
    assert outcomes(rows) == ["lost", "completed"]
    wait_until_bytes_are_gone(runtime, job)


def _rows(runtime: Runtime, job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    with runtime.database() as cursor:
        cursor.execute("SELECT * FROM previews WHERE job_id = %s", (job["id"],))
        rows: list[Mapping[str, Any]] = cursor.fetchall()
        return rows

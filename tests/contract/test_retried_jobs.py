"""A job that has ended can be retried: one over HTTP, those that failed in bulk."""

import json
from typing import Any

from tests.support.cli import darkroom
from tests.support.runtime import Runtime

SHOWN = ("prompt", "style", "size", "n", "seed", "product_id", "metadata", "priority")


def failed(runtime: Runtime, *words: str) -> list[dict[str, Any]]:
    """Return the items that `darkroom failed` prints."""
    done = darkroom(runtime.environment, "failed", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


def test_retry_is_a_new_job_of_the_same_order(runtime: Runtime) -> None:
    """It names the old one, which stays as it is; the same key makes one job."""
    api = runtime.api
    chosen = {"style": "lifestyle", "n": 2, "priority": "high", "metadata": {"order": "7"}}
    old = api.finish(api.submit("[[reject]] a red mug", **chosen))
    path = f"/v1/generations/{old['id']}/retry"
    first = api.client.post(path, headers={"Idempotency-Key": "again"})
    assert first.status_code == 202, first.text
    new = first.json()
    assert first.headers["Location"] == new["urls"]["self"]
    assert new["retry_of"] == old["id"] != new["id"]
    assert {name: new[name] for name in SHOWN} == {name: old[name] for name in SHOWN}
    second = api.client.post(path, headers={"Idempotency-Key": "again"}).json()
    assert second["id"] == new["id"]
    assert api.finish(new)["error"]["code"] == "prompt_rejected"
    assert api.get(old) == {**old, "urls": api.get(old)["urls"]}


def test_job_that_has_not_ended_is_not_retried(runtime: Runtime) -> None:
    """409, and nothing is made."""
    api = runtime.api
    with runtime.paused():
        job = runtime.submit("a red mug")
        answer = api.client.post(f"/v1/generations/{job.id}/retry")
        assert api.problem(answer) == (409, "job_running")
    runtime.finish(job)
    assert len(api.client.get("/v1/generations").json()["items"]) == 1


def test_failed_jobs_are_retried_in_bulk_once(runtime: Runtime) -> None:
    """Those that are asked for; cancelled ones only by their code."""
    rejected = [runtime.submit(f"[[reject]] mug {number}") for number in range(3)]
    cancelled = runtime.accept("a mug")
    runtime.services.cancel(cancelled.id)
    for job in (*rejected, cancelled, runtime.submit("a mug")):
        runtime.finish(job)
    ids = {str(job.id) for job in rejected}
    assert {row["id"] for row in failed(runtime, "list", "--since", "1h")} == ids
    assert failed(runtime, "list", "--code", "time_limit") == []
    assert [row["id"] for row in failed(runtime, "list", "--code", "cancelled")] == [
        *(str(cancelled.id),)
    ]
    assert {row["id"] for row in failed(runtime, "retry", "--dry-run")} == ids
    done = failed(runtime, "retry", "--code", "prompt_rejected", "--rate", "50/s")
    assert {row["retry_of"] for row in done} == ids
    for row in done:
        again = runtime.api.finish({"id": row["id"]})
        assert again["retry_of"] == row["retry_of"]
    listed = {row["id"] for row in failed(runtime, "list")}
    assert listed == {row["id"] for row in done}, "what was retried is not retried again"
    wrong = darkroom(runtime.environment, "failed", "retry", "--rate", "fast")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_failed_job_is_shown_and_purged(runtime: Runtime) -> None:
    """Whatever workspace it is of; with all that is stored of it, and no other job."""
    kept, gone = runtime.submit("a mug"), runtime.submit("[[reject]] a red mug")
    for job in (kept, gone):
        runtime.finish(job)
    [shown] = failed(runtime, "show", str(gone.id))
    assert (shown["workspace_id"], shown["prompt"]) == ("default", "[[reject]] a red mug")
    assert (shown["error"]["code"], len(shown["attempts"])) == ("prompt_rejected", 1)
    text = darkroom(runtime.environment, "failed", "show", str(gone.id)).stdout
    assert "prompt_rejected" in text
    assert "workspace default" in text
    assert [row["id"] for row in failed(runtime, "purge", "--dry-run")] == [str(gone.id)]
    assert failed(runtime, "purge", "--code", "time_limit") == []
    assert [row["id"] for row in failed(runtime, "purge", "--rate", "50/s")] == [str(gone.id)]
    [noted] = audit(runtime)[:1]
    assert (noted["action"], noted["target"]) == ("purge", f"job {gone.id}")
    unknown = darkroom(runtime.environment, "failed", "show", str(gone.id))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert runtime.services.get(kept.id).id == kept.id


def audit(runtime: Runtime) -> list[dict[str, Any]]:
    """Return what operators did, the newest first."""
    done = darkroom(runtime.environment, "audit", "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found

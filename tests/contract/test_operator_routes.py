"""Operators see and change all workspaces over HTTP, and the audit says who did what."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from shared.access.scopes import Scope
from tests.support.api import OTHER_WORKSPACE, Api
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

RUNNING = """
WITH job AS (
    INSERT INTO generation_jobs (workspace_id, params, status, attempt, lease_token, lease_owner,
        lease_until, time_limit_at, started_at)
    VALUES (%(workspace_id)s, '{}', 'PROCESSING', 1, 1, 'host:1', now() + interval '1 hour',
        now() + interval '1 hour', now() - interval '10 minutes')
    RETURNING id
)
INSERT INTO generation_attempts (job_id, number, token, runtime, started_at)
SELECT id, 1, 1, 'celery', now() - interval '10 minutes' FROM job RETURNING job_id
"""
"""A job that no process runs, so that it goes on for as long as the test."""


@pytest.fixture
def admin(runtime: Runtime) -> Iterator[httpx.Client]:
    """Give a client whose key has the scope `admin` alone."""
    _, text = ApiKeyStore(runtime.services.engine).create("default", "ops", scopes=[Scope.ADMIN])
    with runtime.api.client_of(None) as client:
        client.headers["Authorization"] = f"Bearer {text}"
        yield client


def overview_when(
    client: httpx.Client, fits: Callable[[dict[str, Any]], object], saying: str
) -> dict[str, Any]:
    """Return the overview once it fits: it may be some seconds old."""

    def found() -> dict[str, Any] | None:
        overview: dict[str, Any] = client.get("/v1/operator/overview").json()
        return overview if fits(overview) else None

    return wait_until(found, 20, saying)


def submit_as(api: Api, workspace_id: str, prompt: str) -> dict[str, Any]:
    """Submit a job of a workspace."""
    with api.client_of(workspace_id) as client:
        order = {"prompt": prompt, "size": "256x256"}
        job: dict[str, Any] = client.post("/v1/generations", json=order).json()
        return job


def test_the_overview_shows_all_workspaces(runtime: Runtime, admin: httpx.Client) -> None:
    """What waits and runs, what has failed and why, how providers and workers do."""
    api = runtime.api
    failed = api.finish(api.submit("[[reject]] a mug"))
    with runtime.database() as cursor:
        cursor.execute(RUNNING, {"workspace_id": OTHER_WORKSPACE})
        running_id = cursor.fetchone()["job_id"]
    seen = overview_when(admin, lambda it: it["running"], "the job to run")
    [running] = seen["running"]
    assert (running["job_id"], running["workspace_id"]) == (running_id, OTHER_WORKSPACE)
    assert 600 <= running["seconds"] <= 660
    [row] = seen["queue"]
    assert (row["workspace_id"], row["running"], row["due"]) == (OTHER_WORKSPACE, 1, 0)
    assert seen["totals"] == {"due": 0, "delayed": 0, "released": 0, "running": 1}
    [failure] = seen["failures"]
    assert (failure["code"], failure["jobs"]) == ("prompt_rejected", 1)
    assert failure["job_id"] == failed["id"]
    newest = {
        row["id"]: (row["workspace_id"], row["status"], row["code"]) for row in seen["newest"]
    }
    assert newest == {
        running_id: (OTHER_WORKSPACE, "processing", None),
        failed["id"]: ("default", "failed", "prompt_rejected"),
    }
    limits = admin.get("/v1/operator/workspaces", params={"workspace_id": OTHER_WORKSPACE}).json()
    assert {limits[name] for name in limits["defaults"]} == {None}
    [queue] = admin.get("/v1/operator/queue").json()["items"]
    assert (queue["provider"], queue["running"], queue["due"]) == ("mock", 1, 0)
    [health] = [row for row in seen["providers"] if row["provider"] == "mock"]
    assert (health["attempts"], health["failed"], health["code"]) == (1, 1, "prompt_rejected")
    assert [minute["failed"] for minute in seen["throughput"]] == [1]
    assert seen["slots"] == sum(row["slots"] for row in seen["workers"] if row["is_counted"]) > 0
    with runtime.database() as cursor:
        cursor.execute("DELETE FROM generation_jobs WHERE id = %s", (running_id,))


def test_a_job_of_any_workspace_is_shown_with_its_ledger_and_events(
    runtime: Runtime, admin: httpx.Client
) -> None:
    """And can be found in the list of its workspace."""
    job = submit_as(runtime.api, OTHER_WORKSPACE, "[[fail:1]] a mug")
    address = f"/v1/operator/jobs/{job['id']}"

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = admin.get(address).json()
        return found if (found["events"] or [{}])[-1].get("status") == "completed" else None

    found = wait_until(ended, 30, "the last event")
    assert found["workspace_id"] == OTHER_WORKSPACE
    assert [line["outcome"] for line in found["job"]["attempts"]] == ["failed", "completed"]
    times = [event["at"] for event in found["events"]]
    assert times == sorted(times)
    assert [event["message"] for event in found["events"]][:2] == ["Queued", "Starting..."]
    listed = admin.get("/v1/operator/jobs", params={"workspace_id": OTHER_WORKSPACE}).json()
    assert [each["id"] for each in listed["items"]] == [job["id"]]
    assert admin.get(f"/v1/operator/jobs/{uuid4()}").status_code == 404
    [cost] = admin.get("/v1/operator/costs").json()["items"]
    assert (cost["workspace"], cost["charged_calls"]) == (OTHER_WORKSPACE, 0)


def test_actions_are_done_and_noted(runtime: Runtime, admin: httpx.Client) -> None:
    """Also what was refused; by whom is the key's id and name."""
    start = (admin.get("/v1/operator/audit?limit=1").json()["items"] or [{"number": 0}])[0]
    name = {"workspace_id": OTHER_WORKSPACE}
    limits = admin.patch("/v1/operator/workspaces", json={**name, "open_jobs": 7}).json()
    assert (limits["open_jobs"], limits["defaults"]["open_jobs"]) == (7, 500)
    paused = admin.patch("/v1/operator/workspaces", json={**name, "is_paused": True}).json()
    assert paused["paused_at"] is not None
    assert admin.get("/v1/operator/workspaces", params=name).json() == paused
    job = submit_as(runtime.api, OTHER_WORKSPACE, "a mug")
    seen = overview_when(admin, lambda it: it["queue"], "the job to wait")
    assert (seen["queue"][0]["is_paused"], seen["queue"][0]["delayed"]) == (True, 1)
    assert seen["paused"][0]["workspace_id"] == OTHER_WORKSPACE
    refused = admin.post(f"/v1/operator/jobs/{job['id']}/retry")
    assert runtime.api.problem(refused) == (409, "job_running")
    cancelled = admin.post(f"/v1/operator/jobs/{job['id']}/cancel").json()
    assert cancelled["error"]["code"] == "cancelled"
    back = {**name, "is_paused": False, "open_jobs": None}
    assert admin.patch("/v1/operator/workspaces", json=back).json()["open_jobs"] is None
    again = admin.post(f"/v1/operator/jobs/{job['id']}/retry").json()
    assert again["retry_of"] == job["id"]
    for is_paused in (True, False):
        order = {"provider": "mock", "is_paused": is_paused}
        assert admin.patch("/v1/operator/providers", json=order).json() == order
    nowhere = {"workspace_id": "nowhere", "is_paused": True}
    assert admin.patch("/v1/operator/workspaces", json=nowhere).status_code == 422
    assert admin.patch("/v1/operator/workspaces", json=name).status_code == 422

    entries = admin.get("/v1/operator/audit?limit=50").json()["items"]
    entries = [entry for entry in entries if entry["number"] > start["number"]][::-1]
    workspace, of_job = f"workspace {OTHER_WORKSPACE}", f"job {job['id']}"
    assert [(entry["action"], entry["target"], entry["error"]) for entry in entries] == [
        ("limits", workspace, None),
        ("pause", workspace, None),
        ("retry", of_job, "job_running"),
        ("cancel", of_job, None),
        ("limits", workspace, None),
        ("resume", workspace, None),
        ("retry", of_job, None),
        ("pause", "provider mock", None),
        ("resume", "provider mock", None),
        ("pause", "workspace nowhere", "invalid_request"),
    ]
    assert entries[0]["details"] == {"open_jobs": 7}
    [who] = {entry["who"] for entry in entries}
    assert who.startswith("key ")
    assert who.endswith(" (ops)")
    page = admin.get("/v1/operator/audit", params={"before": entries[-1]["number"], "limit": 1})
    assert page.json()["items"] == [entries[-2]]


def test_without_keys_the_sender_is_an_operator(runtime: Runtime) -> None:
    """As far as requests without a key are served at all; the audit has the address."""
    client = runtime.page_api.client
    assert client.get("/v1/operator/overview").json()["slots"] > 0
    order = {"provider": "flux", "is_paused": False}
    assert client.patch("/v1/operator/providers", json=order).status_code == 200
    [entry] = client.get("/v1/operator/audit?limit=1").json()["items"]
    assert (entry["who"], entry["target"]) == ("no key, from 127.0.0.1", "provider flux")
    foreign = client.patch(
        "/v1/operator/providers", json=order, headers={"Origin": "https://elsewhere.example"}
    )
    assert runtime.page_api.problem(foreign) == (403, "forbidden")

"""Tokens for the pages of one user: what they open, and that they open nothing else."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from shared.jobs.job_store import JobStore
from tests.contract.test_isolation import ROUTES, send
from tests.support.runtime import Runtime

USERS = ("ann", "bob")


@pytest.fixture
def clients(runtime: Runtime) -> Iterator[dict[str, httpx.Client]]:
    """Give a client for each user, with a token of one open job."""
    store = JobStore(runtime.services.engine, makes_owners=True)
    with ExitStack() as undo:
        clients = {}
        for name in USERS:
            store.make_user("default", name)
            order = {"user_id": name, "max_open_jobs": 1, "expires_in": 60}
            made = runtime.api.client.post("/v1/tokens", json=order)
            assert made.status_code == 201, made.text
            assert made.json()["token"].startswith("dt_")
            clients[name] = undo.enter_context(client_with(runtime, made.json()["token"]))
        yield clients


def client_with(runtime: Runtime, token: str) -> httpx.Client:
    """Return a client that sends a token."""
    client = runtime.api.client_of(None)
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def test_a_token_leads_to_the_jobs_of_its_user_alone(
    runtime: Runtime, clients: dict[str, httpx.Client]
) -> None:
    """Whatever the body says; the jobs of others do not exist, also not by their keys."""
    api, (ann, bob) = runtime.api, clients.values()
    order = {"prompt": "a mug", "size": "256x256", "user_id": "bob"}
    headers = {"Idempotency-Key": uuid4().hex}
    with runtime.paused():
        job = ann.post("/v1/generations", json=order, headers=headers).json()
        assert job["user_id"] == "ann"
        full = ann.post("/v1/generations", json=order)
        assert api.problem(full) == (429, "too_many_open_jobs")
        other = bob.post("/v1/generations", json=order, headers=headers).json()
        assert (other["user_id"], other["id"] == job["id"]) == ("bob", False)
    path = f"/v1/generations/{job['id']}"
    assert api.follow(job["urls"]["events"])[-1].is_last
    assert ann.get(path).json()["images"][0]["url"]
    for method, end in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        assert api.problem(bob.request(method, f"{path}{end}")) == (404, "not_found")
    assert api.problem(bob.post(f"{path}/retry", json={})) == (404, "not_found")
    for client, params in ((bob, {}), (bob, {"user_id": "ann"})):
        listed = client.get("/v1/generations", params=params).json()["items"]
        assert [item["id"] for item in listed] == [other["id"]]
    assert ann.post(f"{path}/retry", json={}).status_code == 202


def test_a_token_opens_no_route_of_the_workspace(
    runtime: Runtime, clients: dict[str, httpx.Client]
) -> None:
    """Keys, pictures, webhooks, tokens, other doors: each new route is tried, too."""
    for name, route in ROUTES.items():
        if route.needs_key and "/v1/generations" not in name:
            answer = send(clients["ann"], name, str(uuid4()), **route.request)
            assert answer.status_code == 403, (name, answer.text)


def test_a_token_does_not_outlive_its_time_or_its_key(runtime: Runtime) -> None:
    """Nor has it scopes that its key lacks."""
    store = ApiKeyStore(runtime.services.engine)
    key, text = store.create("default", "shop", scopes=["submit", "read"])  # type: ignore[list-item]
    with client_with(runtime, text) as shop:

        def order(**fields: Any) -> httpx.Response:
            return shop.post("/v1/tokens", json={"user_id": "ann", **fields})

        assert runtime.api.problem(order()) == (403, "insufficient_scope")
        assert runtime.api.problem(order(expires_in=3601)) == (422, "invalid_request")
        token = order(scopes=["read"]).json()["token"]
    with client_with(runtime, token) as ann:
        assert ann.get("/v1/generations").status_code == 200
        denied = ann.post("/v1/generations", json={"prompt": "a mug"})
        assert runtime.api.problem(denied) == (403, "insufficient_scope")
        store.revoke(key.id)
        assert runtime.api.problem(ann.get("/v1/generations")) == (401, "unauthorized")
    with client_with(runtime, f"{token[:-2]}xx") as forged:
        assert runtime.api.problem(forged.get("/v1/generations")) == (401, "unauthorized")

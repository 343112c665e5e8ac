"""Darkroom beside an application that was there first: its tables, its history, its servers."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from celery import Celery

from shared.adapters.celery_broker import broker_url
from shared.adapters.celery_queue import CeleryDispatcher
from shared.jobs.job_store import JobStore
from shared.jobs.migration import migrate
from tests.support.api import Api
from tests.support.builders import build_settings, new_job
from tests.support.runtime import Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

OpenApi = Callable[..., Api]

OUTSIDE = Path(__file__).parents[1] / "support/outside"
DONE = "shop:done"
SHOP_TASKS = 40


@pytest.fixture
def open_api(runtime: Runtime, tmp_path: Path) -> Iterator[OpenApi]:
    """Give what starts an API of the runtime with other settings."""
    opened: list[Api] = []

    def start(settings: Mapping[str, str]) -> Api:
        name = runtime.process.runtime
        opened.append(Api(name, runtime.environment, settings, tmp_path / f"{len(opened)}.log"))
        return opened[-1]

    yield start
    for api in opened:
        api.close()


@pytest.fixture
def empty_url(runtime: Runtime) -> Iterator[str]:
    """Give the address of a database without tables."""
    name = f"empty-{uuid4().hex[:8]}"
    yield runtime.postgres.create_database(name)
    runtime.postgres.drop_database(name)


def test_an_api_without_its_tables_says_that_the_schema_is_missing(
    empty_url: str, open_api: OpenApi
) -> None:
    """Tables of the same names are not taken for ours; after the migration it is ready."""
    api = open_api({"DATABASE_URL": empty_url})
    shop = psycopg2.connect(empty_url)
    shop.autocommit = True
    for statement in ("", "CREATE TABLE previews (id int); CREATE TABLE generation_jobs (id int)"):
        if statement:
            shop.cursor().execute(statement)
        answer = api.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"] == "schema missing"
        assert "database (schema missing)" in answer.json()["detail"]
    shop.cursor().execute("DROP TABLE previews, generation_jobs")
    shop.close()
    migrate(build_settings(empty_url).database_url)
    answer = wait_until(lambda: api.client.get("/readyz"), 20, "an answer")
    assert answer.json()["checks"]["database"] == "ok"


def test_ids_of_a_shop_are_taken_as_they_are(runtime: Runtime, open_api: OpenApi) -> None:
    """Numbers, and texts of any form: users and products are made first, and filter the jobs."""
    api = open_api({"AUTO_CREATE": "true"})
    user = f"auth0|{uuid4().hex[:8]}"
    first = api.submit("a mug", user_id=user, product_id=4711, metadata={"order": "A=17"})
    second = api.submit("a cup [[reject]]", user_id=7, product_id="Größe 3/4", metadata={"b": ""})
    assert (first["user_id"], first["product_id"]) == (user, "4711")
    assert (second["user_id"], second["product_id"]) == ("7", "Größe 3/4")
    began = first["created_at"]
    wanted = {api.finish(first)["id"]: first, api.finish(second)["id"]: second}

    def found(**filters: Any) -> list[str]:
        answer = api.client.get("/v1/generations", params=filters)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["items"]]

    for filters in ({"user_id": user}, {"metadata": "order"}, {"metadata": "order=A=17"}):
        assert found(**filters) == [first["id"]], filters
    assert found(metadata=["order", "b"]) == found(metadata="order=A") == []
    code = api.get(second)["error"]["code"]
    assert found(error_code=code) == found(user_id="7", status="failed") == [second["id"]]
    ends = sorted((api.get(job)["finished_at"], name) for name, job in wanted.items())
    by_end = [name for _, name in reversed(ends)]
    assert found(order="finished_at", finished_after=began) == by_end
    assert found(finished_after=ends[0][0], order="finished_at") == by_end[:1]
    assert found(finished_after=ends[0][0]) == by_end[:1]
    page = api.client.get("/v1/generations", params={"order": "finished_at", "limit": 1}).json()
    assert found(order="finished_at", cursor=page["next_cursor"]) == by_end[1:]
    refused = runtime.page_api.client.post(
        "/v1/generations", json={"prompt": "a mug", "user_id": f"{user}x"}
    )
    assert runtime.page_api.problem(refused) == (422, "invalid_request")
    for bad in ("", " a", "a\n", "x" * 65, 1.5, True):
        answer = api.client.post("/v1/generations", json={"prompt": "a mug", "user_id": bad})
        assert answer.status_code == 422, bad


def test_two_workspaces_may_use_the_same_ids(runtime: Runtime) -> None:
    """As numbers of two shops do."""
    jobs = JobStore(runtime.services.engine, makes_owners=True)
    for workspace_id in ("shop-1", "shop-2"):
        new = replace(new_job(workspace_id=workspace_id), user_id="17", product_id="17")
        job = jobs.insert(new)
        assert (job.workspace_id, job.user_id, job.product_id) == (workspace_id, "17", "17")
        assert outcomes(runtime.finish(job)) == ["completed"]


@contextmanager
def shop_worker(runtime: Runtime, folder: Path) -> Iterator[None]:
    """Run the shop's own worker meanwhile."""
    words = (
        "-A",
        "shop_app",
        "worker",
        "-Q",
        "default",
        "-n",
        "shop@%h",
        "--pool",
        "solo",
        "--without-mingle",
    )
    environment = {
        **os.environ,
        **runtime.environment,
        "PYTHONPATH": f"{OUTSIDE}:{OUTSIDE.parents[2]}",
    }
    with (folder / "shop.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *words],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def others(dispatcher: CeleryDispatcher) -> list[str]:
    """Return what is found of other applications, once a worker is among it."""
    found = dispatcher.find_others(asks_workers=True)
    return found if found and found[-1].startswith("worker") else []


def test_tasks_of_a_shop_on_the_same_redis_all_run(runtime: Runtime, tmp_path: Path) -> None:
    """On a queue that both applications consume; jobs run beside them."""
    shop = Celery("shop", broker=broker_url(runtime.settings.redis_url), set_as_current=False)
    for number in range(SHOP_TASKS):
        shop.send_task("shop.note", args=[number], queue="default")
    assert outcomes(runtime.finish(runtime.submit("a red mug"))) == ["completed"]
    redis = runtime.redis_client
    try:
        with shop_worker(runtime, tmp_path):
            wait_until(lambda: redis.llen(DONE) == SHOP_TASKS, 60, "the shop's tasks to run")
            done: Any = redis.lrange(DONE, 0, -1)
            assert {int(number) for number in done} == {*range(SHOP_TASKS)}
            with closing(CeleryDispatcher(runtime.settings)) as dispatcher:
                found = wait_until(lambda: others(dispatcher), 20, "the shop to be found")
            assert re.fullmatch(r"worker shop@\S+ on default", found[-1])
    finally:
        redis.delete(DONE)
        shop.close()

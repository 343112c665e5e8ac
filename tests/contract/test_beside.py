"""Darkroom beside an application that was there first: its tables, its history, its servers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from celery import Celery

from shared.adapters.celery_broker import broker_url
from shared.jobs.migration import migrate
from tests.support.api import Api
from tests.support.builders import build_settings
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


@contextmanager
def shop_worker(runtime: Runtime, folder: Path) -> Iterator[None]:
    """Run the shop's own worker meanwhile."""
    words = ("-A", "shop_app", "worker", "-Q", "default", "--pool", "solo", "--without-mingle")
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
    finally:
        redis.delete(DONE)
        shop.close()

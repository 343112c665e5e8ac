"""A schema of its own, and names of its own in Redis: nothing of the shop's is touched."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
import pytest
from celery import Celery

from shared.adapters.celery_broker import JOB_QUEUE, MAINTENANCE_QUEUE, broker_url
from tests.support.clients import CeleryClients
from tests.support.runtime import Runtime
from tests.support.story import outcomes

SHOP_TABLES = """
CREATE TABLE generation_jobs (id int); INSERT INTO generation_jobs VALUES (1), (2);
CREATE TABLE users (id int); INSERT INTO users VALUES (7);
CREATE TABLE alembic_version (version_num varchar); INSERT INTO alembic_version VALUES ('shop1')
"""
ROWS = "SELECT (SELECT count(*) FROM public.generation_jobs), (SELECT max(id) FROM public.users)"
SHOP_QUEUES = (JOB_QUEUE, MAINTENANCE_QUEUE)


@pytest.fixture(scope="module")
def own_settings() -> Mapping[str, str]:
    """Give a schema and prefixes."""
    return {"DATABASE_SCHEMA": "dark-room", "REDIS_PREFIX": "dark:", "QUEUE_PREFIX": "dark-"}


@pytest.fixture
def shop_cursor(own_runtime: Runtime) -> Iterator[Any]:
    """Give a connection of a shop whose tables have the same names, in its own schema."""
    with contextlib.closing(psycopg2.connect(own_runtime.postgres.url)) as shop:
        shop.autocommit = True
        cursor = shop.cursor()
        cursor.execute(SHOP_TABLES)
        yield cursor
        cursor.execute("DROP TABLE generation_jobs, users, alembic_version")


@pytest.fixture
def shop_keys(own_runtime: Runtime) -> Iterator[set[str]]:
    """Give the keys of a shop's Celery application; its tasks wait on queues of the same names."""
    redis = own_runtime.redis_client
    app = Celery("shop", broker=broker_url(own_runtime.settings.redis_url), set_as_current=False)
    before = {*redis.scan_iter()}
    for queue in SHOP_QUEUES:
        app.send_task("shop.note", args=[1], queue=queue)
    made = {*redis.scan_iter()} - before
    yield made
    redis.delete(*made)
    app.close()


def test_jobs_run_beside_a_shop_that_uses_all_the_same_names(
    own_runtime: Runtime, shop_cursor: Any, shop_keys: set[str]
) -> None:
    """Every key, channel, queue and table is ours by its prefix; the shop's are as before."""
    redis = own_runtime.redis_client
    job = own_runtime.submit("a red mug")
    assert outcomes(own_runtime.finish(job)) == ["completed"]
    assert own_runtime.messages(job, at_least=9)[-1].startswith('{"status": "completed"')
    api = own_runtime.api
    seen = api.submit("a blue mug [[slow:1]]")
    assert api.follow(seen["urls"]["events"])[-1].step["status"] == "completed"
    assert [redis.llen(queue) for queue in SHOP_QUEUES] == [1, 1]
    assert {key for key in redis.scan_iter() if not key.startswith("dark:")} == shop_keys
    shop_cursor.execute(ROWS)
    assert shop_cursor.fetchone() == (2, 7)
    shop_cursor.execute("SELECT version_num FROM public.alembic_version")
    assert shop_cursor.fetchall() == [("shop1",)]


def test_celery_clients_with_the_prefix_read_the_result(own_runtime: Runtime) -> None:
    """They name it as `global_keyprefix`."""
    clients = CeleryClients(own_runtime.settings)
    try:
        job = own_runtime.submit("a red mug")
        urls = [image["url"] for image in own_runtime.finish(job).images]
        for result in clients.results(job):
            assert result.get(timeout=10) == {"job_id": str(job.id), "images": urls}
    finally:
        clients.close()

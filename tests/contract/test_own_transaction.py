"""Jobs that a shop submits in a transaction of its own: with its rows, or not at all."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Connection, create_engine, text

from shared.errors import ConfigurationError, InvalidRequest, UnknownJob
from shared.imaging.request import GenerationRequest
from tests.support.runtime import Runtime
from tests.support.story import outcomes

REQUEST = GenerationRequest(prompt="a red mug", size="256x256", seed=7)
ORDER = "INSERT INTO shop_orders VALUES (1)"
COUNT = "SELECT count(*) FROM shop_orders"


@pytest.fixture
def shop(runtime: Runtime) -> Iterator[Any]:
    """Give a connection of psycopg2, beside a table of the shop's orders."""
    with closing(psycopg2.connect(runtime.postgres.url)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE shop_orders (id int)")
        yield connection
        connection.rollback()
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE shop_orders")


@pytest.fixture
def mapped(runtime: Runtime) -> Iterator[Connection]:
    """Give a connection of SQLAlchemy."""
    engine = create_engine(runtime.settings.database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_job_is_accepted_with_the_commit_of_the_caller(
    runtime: Runtime, shop: Any, mapped: Connection
) -> None:
    """Before it, no other sees the job; a rollback takes it back with the shop's own rows."""
    cursor = shop.cursor()
    cursor.execute(ORDER)
    undone = runtime.services.submit(REQUEST, connection=shop)
    shop.rollback()
    cursor.execute(ORDER)
    first = runtime.services.submit(REQUEST, connection=shop)
    with pytest.raises(UnknownJob):
        runtime.services.get(first.id)
    cursor.execute("SHOW search_path")
    assert cursor.fetchone() == ('"$user", public',)
    shop.commit()
    second = runtime.services.submit(REQUEST, connection=mapped)
    mapped.execute(text(ORDER))
    mapped.commit()
    runtime.services.release()
    assert outcomes(runtime.finish(first)) == outcomes(runtime.finish(second)) == ["completed"]
    assert [step.progress for step in runtime.steps(first)][:2] == [0, 5]
    cursor.execute(COUNT)
    assert cursor.fetchone() == (2,)
    with pytest.raises(UnknownJob):
        runtime.services.get(undone.id)


def test_a_refused_request_leaves_the_transaction_as_it_was(runtime: Runtime, shop: Any) -> None:
    """The shop decides what becomes of its own rows; without a transaction nothing is accepted."""
    cursor = shop.cursor()
    cursor.execute(ORDER)
    with pytest.raises(InvalidRequest, match="product_id: no product 'none'"):
        runtime.services.submit(REQUEST.model_copy(update={"product_id": "none"}), connection=shop)
    cursor.execute(COUNT)
    assert cursor.fetchone() == (1,)
    shop.rollback()
    shop.autocommit = True
    with pytest.raises(ConfigurationError, match="the connection is in autocommit"):
        runtime.services.submit(REQUEST, connection=shop)
    shop.autocommit = False


def test_a_bare_row_starts_at_once(runtime: Runtime, shop: Any) -> None:
    """As the docs say: an INSERT and a commit; where no worker listens, a release."""
    with shop, shop.cursor() as cursor:
        cursor.execute(
            "INSERT INTO generation_jobs (workspace_id, params) VALUES ('default', %s)"
            " RETURNING id",
            (json.dumps({"prompt": "a mug", "size": "256x256"}),),
        )
        job_id = cursor.fetchone()[0]
    runtime.services.release()
    job = runtime.services.get(job_id)
    began_at = time.monotonic()
    assert outcomes(runtime.finish(job)) == ["completed"]
    assert time.monotonic() - began_at < 20

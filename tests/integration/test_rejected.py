"""Rejected envelopes: few and short whatever comes, and `darkroom rejected`."""

import json
import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from shared.errors import MalformedEnvelope
from shared.jobs.rejected_store import BODY_CHARS, KEPT, RejectedStore
from tests.support.cli import darkroom
from tests.support.database import Database


@pytest.fixture
def store(engine: Engine, database: Database) -> Iterator[RejectedStore]:
    """Give the store of the Celery runtime, empty."""
    store = RejectedStore(engine, "celery")
    store.purge()
    yield store
    store.purge()


def test_the_newest_are_kept_and_none_is_long(store: RejectedStore, database: Database) -> None:
    """Whatever is sent, and however often."""
    database.fetch(
        "INSERT INTO rejected_envelopes (runtime, code, reason, body, received_at)"
        " SELECT 'celery', 'malformed_envelope', 'x', n, now() - make_interval(secs => n)"
        " FROM generate_series(1, %(count)s) n",
        count=KEPT + 5,
    )
    store.note(MalformedEnvelope("a\nb" * 500), "\0" + "x" * 10_000)
    found = store.list(2 * KEPT)
    assert len(found) == KEPT
    assert (found[0].body[0], len(found[0].body)) == ("\N{REPLACEMENT CHARACTER}", BODY_CHARS)
    assert len(found[0].reason) <= 200
    assert "\n" not in found[0].reason
    assert found[1].body == "1"


def test_an_operator_lists_and_deletes_them(store: RejectedStore, database: Database) -> None:
    """For people and for programs."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database.url}
    store.note(MalformedEnvelope("the body is not JSON"), "{\x1b[2J")
    line, body = darkroom(environment, "rejected", "list").stdout.splitlines()
    assert line.endswith("celery  malformed_envelope  the body is not JSON")
    assert json.loads(body) == "{\x1b[2J"
    listed = json.loads(darkroom(environment, "rejected", "list", "--json").stdout)
    assert [item["body"] for item in listed["items"]] == ["{\x1b[2J"]
    assert darkroom(environment, "rejected", "purge").stdout == "deleted 1\n"
    assert darkroom(environment, "rejected", "list").stdout == ""

"""Notifications of rows that other programs insert."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from sqlalchemy import Engine

from local.worker.listening import JobListener
from shared.errors import ServiceUnavailable
from shared.jobs.job_store import JobStore
from tests.support.builders import new_job
from tests.support.database import Database
from tests.support.wait import wait_until


class Listening:
    """A listener in a thread."""

    def __init__(self, engine: Engine) -> None:
        self.noticed = 0
        self.error: Exception | None = None
        self.is_stopping = threading.Event()
        self._listener = JobListener(engine, nullcontext)
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        try:
            self._listener.listen(self.is_stopping.is_set, self._count)
        except ServiceUnavailable as error:
            self.error = error

    def _count(self) -> None:
        self.noticed += 1


LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN darkroom_jobs'"


@pytest.fixture
def listening(engine: Engine, database: Database) -> Iterator[Listening]:
    """Give a listener that is connected."""
    listening = Listening(engine)
    wait_until(lambda: database.fetch(LISTENERS), 10, "the listener")
    yield listening
    listening.is_stopping.set()
    listening.thread.join(10)
    assert not listening.thread.is_alive()


def test_a_bare_row_and_one_of_a_foreign_transaction_are_noticed(
    listening: Listening, engine: Engine, database: Database
) -> None:
    """At the commit; jobs that Darkroom accepts itself send no notification."""
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as own:
        JobStore(engine).insert_within(own, new_job())
    wait_until(lambda: listening.noticed == 1, 5, "the job to be noticed")
    JobStore(engine).insert(new_job(provider="mock"))
    database.insert_job()
    wait_until(lambda: listening.noticed == 2, 5, "the row to be noticed")
    database.insert_job()
    wait_until(lambda: listening.noticed == 3, 5, "the next row to be noticed")


def test_a_listener_whose_connection_is_lost_says_so(
    listening: Listening, database: Database
) -> None:
    """Its thread connects anew."""
    database.fetch(LISTENERS.replace("pid", "pg_terminate_backend(pid)"))
    wait_until(lambda: listening.error, 10, "the loss to be noticed")

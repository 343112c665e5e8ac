"""The thread that sweeps in a Celery worker: no error ends it."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import pytest

from devkit.stack import EmbeddedPostgres
from local.worker.sweeping import (
    FORK_WAITS_SECONDS,
    STOP_WAITS_SECONDS,
    DeadChild,
    JobEnded,
    SweepThreads,
    report,
)
from shared.settings import Settings
from shared.wiring import Services
from tests.support.builders import ListDispatcher
from tests.support.database import Database
from tests.support.wait import wait_until


class BrokenDispatcher(ListDispatcher):
    """Raises an error of no kind that is known, so many times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self._failures = failures

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Fail, or keep the envelope."""
        if self._failures:
            self._failures -= 1
            self.lost.add(job_id)
            raise RuntimeError("Can't shrink pool when in use: was=10 now=2")
        super().dispatch(job_id, envelope_id)


@pytest.fixture
def dispatcher() -> BrokenDispatcher:
    """Give a dispatcher that fails twice."""
    return BrokenDispatcher(2)


@pytest.fixture
def thread(settings: Settings, dispatcher: BrokenDispatcher) -> Iterator[SweepThreads]:
    """Give a thread that sweeps often; the test starts it."""
    quick = {"sweep_seconds": 0.1}
    services = Services(settings.model_copy(update=quick), dispatcher=dispatcher)
    thread = SweepThreads(services, slots=2)
    with closing(services):
        yield thread
        thread.stop()


def test_an_unexpected_error_does_not_end_the_sweep(
    thread: SweepThreads,
    dispatcher: BrokenDispatcher,
    database: Database,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is logged and counted; the job is dispatched once the dispatcher works."""
    job_id, _ = database.insert_job()
    thread.start()
    wait_until(lambda: dispatcher.sent, 20, "the job to be dispatched")
    assert dispatcher.sent[0][0] == job_id
    written = "".join(capsys.readouterr())
    assert written.count("sweep failed unexpectedly") == 2


def test_an_unexpected_error_over_a_dead_child_does_not_end_the_sweep(
    thread: SweepThreads, dispatcher: BrokenDispatcher, database: Database
) -> None:
    """The deaths that follow are settled."""
    thread.start()
    job_id, _ = database.insert_job()
    report(DeadChild(job_id, "host:1", at_time_limit=False))
    wait_until(lambda: dispatcher.sent, 20, "the job to be dispatched")
    assert dispatcher.sent[0][0] == job_id


def seconds_to_fork() -> float:
    """Fork a child that ends at once, and return how long the fork took."""
    began_at = time.monotonic()
    pid = os.fork()
    if not pid:
        os._exit(0)
    seconds = time.monotonic() - began_at
    os.waitpid(pid, 0)
    return seconds


def test_neither_a_fork_nor_the_end_waits_for_a_server_that_hangs(
    thread: SweepThreads,
    dispatcher: BrokenDispatcher,
    database: Database,
    postgres: EmbeddedPostgres,
) -> None:
    """A child that died is replaced at once, whatever the threads wait for."""
    database.insert_job()
    thread.start()
    wait_until(lambda: dispatcher.sent, 20, "the threads to work")
    postgres.pause()
    try:
        # A fork does wait for a moment, which shows that a thread hangs.
        wait_until(lambda: seconds_to_fork() > FORK_WAITS_SECONDS / 2, 10, "a thread to hang")
        # A busy machine slows one or the other; one that waited for the server would not end.
        forks = [seconds_to_fork() for _ in range(3)]
        assert max(forks) < FORK_WAITS_SECONDS + 2
        assert min(forks) < 2 * FORK_WAITS_SECONDS
        began_at = time.monotonic()
        thread.stop()
        assert time.monotonic() - began_at < STOP_WAITS_SECONDS + 3
    finally:
        postgres.resume()


def test_a_due_retry_does_not_wait_for_the_ends_of_other_jobs(
    settings: Settings, database: Database
) -> None:
    """An end releases nothing before half of the room is free; some other job ends all the time."""
    dispatcher = ListDispatcher()
    with closing(Services(settings, dispatcher=dispatcher)) as services:
        thread = SweepThreads(services, slots=8)
        for _ in range(9):
            database.insert_job(dispatched_at="2020-01-01Z", released_to="celery")
        database.insert_job()
        thread.start()
        try:
            wait_until(lambda: dispatcher.sent, 10, "the first sweep to release a job")
            job_id, _ = database.insert_job(attempt=1, next_attempt_at="2020-01-01Z")

            def is_sent() -> bool:
                report(JobEnded())
                return any(sent == job_id for sent, _ in dispatcher.sent)

            wait_until(is_sent, 5, "the retry to be sent")
        finally:
            thread.stop()

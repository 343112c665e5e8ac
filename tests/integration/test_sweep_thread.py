"""The thread that sweeps in a Celery worker: no error ends it."""

from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import pytest

from local.worker.sweeping import DeadChild, SweepThread, report
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
def thread(settings: Settings, dispatcher: BrokenDispatcher) -> Iterator[SweepThread]:
    """Give a thread that sweeps often; the test starts it."""
    quick = {"sweep_seconds": 0.1}
    services = Services(settings.model_copy(update=quick), dispatcher=dispatcher)
    thread = SweepThread(services, slots=2)
    with closing(services):
        yield thread
        thread.stop()


def test_an_unexpected_error_does_not_end_the_sweep(
    thread: SweepThread,
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
    thread: SweepThread, dispatcher: BrokenDispatcher, database: Database
) -> None:
    """The deaths that follow are settled."""
    thread.start()
    job_id, _ = database.insert_job()
    report(DeadChild(job_id, "host:1", at_time_limit=False))
    wait_until(lambda: dispatcher.sent, 20, "the job to be dispatched")
    assert dispatcher.sent[0][0] == job_id

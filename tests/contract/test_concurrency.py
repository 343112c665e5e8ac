"""Several jobs at once: they overlap, and each is run by one attempt alone."""

from tests.support.faults import warm_up
from tests.support.runtime import SLOTS, Runtime
from tests.support.story import PLAIN, outcomes


def test_as_many_jobs_as_there_are_slots_run_at_the_same_time(runtime: Runtime) -> None:
    """Each starts before any of them has ended."""
    warm_up(runtime)
    jobs = [runtime.submit("a mug [[slow:1]]") for _ in range(SLOTS)]
    attempts = [runtime.finish(job).attempts[0] for job in jobs]
    last_start = max(attempt["started_at"] for attempt in attempts)
    assert last_start < min(attempt["finished_at"] for attempt in attempts)


def test_twenty_quick_jobs_are_completed_once_each(runtime: Runtime) -> None:
    """More jobs than slots: none is lost, none is run twice, no message goes astray."""
    jobs = [runtime.submit(f"mug number {number}", seed=number) for number in range(20)]
    every_rows = [runtime.finish(job, within=60) for job in jobs]
    assert [outcomes(rows) for rows in every_rows] == [["completed"]] * 20
    assert [len(rows.images) for rows in every_rows] == [1] * 20
    assert len({rows.images[0]["sha256"] for rows in every_rows}) == 20
    for job in jobs:
        assert runtime.steps(job) == PLAIN
        assert runtime.messages(job, len(PLAIN)) == [step.as_json() for step in PLAIN]

"""Several jobs at once: they overlap, and each is run by one attempt alone."""

from tests.support.faults import cut_redis_connections, other_settings, warm_up
from tests.support.runtime import SLOTS, Runtime
from tests.support.story import PLAIN, outcomes


def test_as_many_jobs_as_there_are_slots_run_at_the_same_time(runtime: Runtime) -> None:
    """Each starts before any of them has ended."""
    warm_up(runtime)
    jobs = [runtime.submit("a mug [[slow:1]]") for _ in range(SLOTS)]
    attempts = [runtime.finish(job).attempts[0] for job in jobs]
    last_start = max(attempt["started_at"] for attempt in attempts)
    assert last_start < min(attempt["finished_at"] for attempt in attempts)


def test_free_slots_take_jobs_while_another_outlives_a_loss_of_redis(runtime: Runtime) -> None:
    """A job that takes minutes delays no other, before and after the connections were lost."""
    with other_settings(runtime, SOFT_TIME_LIMIT="40", TIME_LIMIT="45"):
        warm_up(runtime)
        long = runtime.submit("a red mug [[slow:16]]")
        runtime.wait_for_step(long, 30)
        cut_redis_connections(runtime)
        for _ in range(3):
            assert outcomes(runtime.finish(runtime.submit("a blue mug"))) == ["completed"]
        assert runtime.rows(long).job["status"] == "PROCESSING"
        runtime.services.cancel(long.id)
        runtime.finish(long)


def test_all_slots_run_jobs_again_after_workers_and_redis_were_lost(runtime: Runtime) -> None:
    """Each worker that died has a successor with work to do."""
    warm_up(runtime)
    for job in [runtime.submit("a mug [[crash]]") for _ in range(SLOTS)]:
        runtime.finish(job, within=60)
    cut_redis_connections(runtime)
    warm_up(runtime)


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

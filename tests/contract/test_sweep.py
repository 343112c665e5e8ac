"""The sweep finds what was left unfinished, whatever the slots are doing."""

from concurrent.futures import ThreadPoolExecutor

from shared.events.keys import unprefixed as keys
from shared.jobs.model import Job
from shared.status import COMPLETED, waiting
from tests.support.faults import claim_on_lost_machine, warm_up
from tests.support.runtime import SLOTS, Runtime
from tests.support.story import PLAIN, RUN, outcomes
from tests.support.wait import wait_until


def test_sweep_finds_lost_jobs_while_every_slot_is_busy(runtime: Runtime) -> None:
    """One lost its worker; of the other neither event nor envelope was sent after the commit."""
    warm_up(runtime)
    unsent = runtime.accept("a green mug")
    busy = [runtime.submit("a red mug [[block:3.6]]") for _ in range(SLOTS)]
    for other in busy:
        runtime.wait_for_step(other, 30)
    lost = runtime.submit("a blue mug")
    claim_on_lost_machine(runtime, lost)
    wait_until(lambda: waiting(2, 3) in runtime.steps(lost), 20, "the lost job to be revived")
    assert [_status(runtime, other) for other in busy] == ["PROCESSING"] * SLOTS
    assert _status(runtime, lost) == "PENDING"
    assert outcomes(runtime.finish(lost)) == ["lost", "completed"]
    assert outcomes(runtime.finish(unsent)) == ["completed"]
    assert runtime.steps(unsent) == PLAIN
    assert runtime.channel.of(unsent.task_id) == [step.as_json() for step in PLAIN]


def test_sweeps_at_the_same_time_revive_each_job_once(runtime: Runtime) -> None:
    """Those of the runtime and two by hand: each job gets one new attempt, announced once."""
    lost = [runtime.accept("a blue mug") for _ in range(4)]
    for job in lost:
        claim_on_lost_machine(runtime, job)

    def sweep_until_revived() -> None:
        def revived() -> bool:
            runtime.services.sweep()
            return all(waiting(2, 3) in runtime.steps(job) for job in lost)

        wait_until(revived, 20, "the lost jobs to be revived")

    with ThreadPoolExecutor(max_workers=2) as sweeps:
        for sweep in [sweeps.submit(sweep_until_revived) for _ in range(2)]:
            sweep.result()
    for job in lost:
        assert outcomes(runtime.finish(job)) == ["lost", "completed"]
        assert runtime.steps(job) == [waiting(2, 3), *RUN, COMPLETED]


def test_an_unexpected_error_does_not_end_the_sweep(runtime: Runtime) -> None:
    """A stream holds an entry that is not ours: at the latest without it, the job is recovered."""
    warm_up(runtime)
    lost = runtime.accept("a blue mug")
    stream = keys.stream(lost.task_id)
    runtime.redis_client.xadd(stream, {"event": "{not json"})
    claim_on_lost_machine(runtime, lost)

    def was_met() -> bool:
        attempt = runtime.rows(lost).attempts[0]
        return attempt["outcome"] == "lost" or "JSONDecodeError" in runtime.log_path.read_text()

    wait_until(was_met, 20, "the sweep to meet the entry")
    runtime.redis_client.delete(stream)
    assert outcomes(runtime.finish(lost)) == ["lost", "completed"]


def test_a_job_that_cannot_be_announced_delays_no_other(runtime: Runtime) -> None:
    """Something else lies where its stream would be; the job behind it is announced."""
    broken, other = runtime.accept("a red mug"), runtime.accept("a blue mug")
    runtime.redis_client.set(keys.stream(broken.task_id), "no stream")
    for job in (broken, other):
        runtime.services.jobs.request_cancel(job.id)
    assert runtime.finish(other, within=10).job["status"] == "FAILED"
    assert runtime.rows(broken).job["announced_at"] is None
    runtime.redis_client.delete(keys.stream(broken.task_id))
    runtime.finish(broken)


def test_rows_that_are_locked_delay_no_other(runtime: Runtime) -> None:
    """Of lost envelopes, lost leases and ends without announcement, those of others are mended."""
    runtime.process.kill()
    lost = [runtime.submit("a red mug") for _ in range(2)]
    assert None not in [runtime.rows(job).job["dispatched_at"] for job in lost]
    runtime.queue.clear()
    left = [runtime.accept("a blue mug") for _ in range(2)]
    for job in left:
        claim_on_lost_machine(runtime, job)
    unannounced = [runtime.accept("a green mug") for _ in range(2)]
    for job in unannounced:
        runtime.services.jobs.request_cancel(job.id)
    runtime.start()
    with runtime.locked_row(lost[0], left[0], unannounced[0]):
        for job in (lost[1], left[1], unannounced[1]):
            runtime.finish(job)
    for job in (lost[0], left[0], unannounced[0]):
        runtime.finish(job)


def _status(runtime: Runtime, job: Job) -> str:
    status: str = runtime.rows(job).job["status"]
    return status

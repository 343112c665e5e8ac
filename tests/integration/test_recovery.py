"""Jobs as the sweep sees them, against PostgreSQL: lost, due, ended without a word."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.database.session import create_unpooled_engine
from shared.errors import (
    JobCancelled,
    TimeLimitReached,
    WorkerLost,
    error_record,
)
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim, Job, LostJob
from shared.jobs.recovery_store import RecoveryStore
from shared.status import Step, failed, rendering
from tests.support.builders import UNPAID, build_settings, new_job
from tests.support.database import Database

LIMIT_SECONDS = 100.0


def settle(recovery: RecoveryStore, lost: LostJob) -> Job | None:
    """Settle a lost job as the sweep does, where Redis remembers nothing."""
    return recovery.settle(lost, lost.judge(LIMIT_SECONDS), lost.progress)


def recover(recovery: RecoveryStore) -> Job:
    """Settle the one job that is lost."""
    (lost,) = recovery.find_lost(10)
    job = settle(recovery, lost)
    assert job is not None
    return job


@pytest.fixture
def running(jobs: JobStore, attempts: AttemptStore) -> Claim:
    """Give the claim of a job in its first attempt."""
    return start(jobs, attempts)


def start(jobs: JobStore, attempts: AttemptStore, max_attempts: int = 3) -> Claim:
    """Insert and claim a job."""
    claim = attempts.claim(jobs.insert(new_job(max_attempts=max_attempts)).id)
    assert isinstance(claim, Claim)
    return claim


def test_a_live_lease_is_left_alone(running: Claim, recovery: RecoveryStore) -> None:
    """Its worker lives, as far as anybody knows."""
    assert recovery.find_lost(10) == []


def test_a_lost_job_waits_for_its_next_attempt(
    running: Claim,
    jobs: JobStore,
    recovery: RecoveryStore,
    attempts: AttemptStore,
    database: Database,
) -> None:
    """Its attempt is closed, its worker fenced off, and it is due at once."""
    database.expire_lease(running.job_id)
    recovered = recover(recovery)
    assert recovered == jobs.get(running.job_id)
    record = error_record(WorkerLost(1), 1)
    row, (attempt,) = database.job(running.job_id), database.attempts(running.job_id)
    assert (row["status"], row["progress"]) == ("PENDING", 0)
    assert row["message"] == "Retrying (attempt 2 of 3)"
    assert row["error"] == record
    assert row["lease_token"] == running.token + 1
    assert (attempt["outcome"], attempt["error"]) == ("lost", record)
    assert attempt["charge_state"] == "unknown"
    assert recovery.find_lost(10) == []
    assert (row["dispatched_at"], row["next_attempt_at"] is None) == (None, False)
    again = attempts.claim(running.job_id)
    assert isinstance(again, Claim)
    assert (again.attempt, again.token) == (2, 3)


def test_a_job_that_loses_every_worker_ends(
    jobs: JobStore, attempts: AttemptStore, recovery: RecoveryStore, database: Database
) -> None:
    """After its last attempt, with the progress it had reached."""
    claim = start(jobs, attempts, max_attempts=1)
    database.update_job(claim.job_id, "progress = 70")
    database.expire_lease(claim.job_id)
    ending = recover(recovery).ending
    assert ending == jobs.get(claim.job_id).ending
    assert ending.step == failed(70, "The worker was lost during attempt 1")
    assert ending.error_code == "worker_lost"
    assert ending.token == claim.token + 1


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_job_at_its_time_limit_ends(
    running: Claim,
    jobs: JobStore,
    recovery: RecoveryStore,
    database: Database,
    is_cancelled: bool,
) -> None:
    """As such, or as cancelled if a cancel was requested."""
    if is_cancelled:
        jobs.request_cancel(running.job_id)
    database.reach_time_limit(running.job_id)
    recover(recovery)
    error = JobCancelled() if is_cancelled else TimeLimitReached(LIMIT_SECONDS)
    assert database.job(running.job_id)["error"] == error_record(error, 1)
    assert database.attempts(running.job_id)[0]["outcome"] == "lost"


def test_the_jobs_of_a_dead_process_are_settled_at_once(
    running: Claim, recovery: RecoveryStore, database: Database
) -> None:
    """Its lease is live, but the worker is known to be dead; no other job is touched."""
    assert recovery.find_of_dead_owner(running.job_id, "host:2") is None
    lost = recovery.find_of_dead_owner(running.job_id, "host:1")
    assert lost is not None
    assert settle(recovery, replace(lost, owner=None)) is None
    assert settle(recovery, lost) is not None
    assert database.job(running.job_id)["status"] == "PENDING"
    assert recovery.find_of_dead_owner(running.job_id, "host:1") is None


def test_two_sweeps_at_once_recover_each_job_once(
    jobs: JobStore, attempts: AttemptStore, database: Database, database_url: str
) -> None:
    """Rows that one works on are passed over by the other."""
    claims = [start(jobs, attempts) for _ in range(12)]
    for claim in claims:
        database.expire_lease(claim.job_id)
    engine = create_unpooled_engine(build_settings(database_url).database_url, "sweeps")
    barrier = threading.Barrier(4)

    def sweep(_number: int) -> list[UUID]:
        barrier.wait()
        store = RecoveryStore(engine)
        return [lost.id for lost in store.find_lost(100) if settle(store, lost) is not None]

    with ThreadPoolExecutor(4) as pool:
        recovered = [job_id for found in pool.map(sweep, range(4)) for job_id in found]
    assert sorted(recovered) == sorted(claim.job_id for claim in claims)
    assert all(database.job(claim.job_id)["lease_token"] == 2 for claim in claims)
    assert all(len(database.attempts(claim.job_id)) == 1 for claim in claims)


def test_a_job_that_changed_since_it_was_found_is_left_alone(
    running: Claim, jobs: JobStore, recovery: RecoveryStore, database: Database
) -> None:
    """Its lease was extended, or a cancel requested: the next look decides."""
    database.expire_lease(running.job_id)
    (lost,) = recovery.find_lost(10)
    jobs.request_cancel(running.job_id)
    assert settle(recovery, lost) is None
    (cancelled,) = recovery.find_lost(10)
    database.update_job(running.job_id, "lease_until = now() + interval '1 minute'")
    assert settle(recovery, cancelled) is None
    assert database.job(running.job_id)["lease_token"] == running.token


def test_locked_rows_are_passed_over(
    jobs: JobStore, attempts: AttemptStore, recovery: RecoveryStore, database: Database
) -> None:
    """Without waiting, and the others are found behind them."""
    claims = [start(jobs, attempts) for _ in range(2)]
    for claim in claims:
        database.expire_lease(claim.job_id)
    first, second = recovery.find_lost(10)
    ended = jobs.request_cancel(jobs.insert(new_job()).id)
    database.update_job(ended.id, "finished_at = now() - interval '1 minute'")
    with database.locked(first.id), database.locked(ended.id):
        assert settle(recovery, first) is None
        assert recovery.find_lost(10) == [second]
        assert recovery.find_unannounced(10) == []
        assert settle(recovery, second) is not None
    assert settle(recovery, first) is not None


def test_ends_that_were_not_announced_are_found(
    jobs: JobStore, attempts: AttemptStore, recovery: RecoveryStore, database: Database
) -> None:
    """After a moment for the process that ended them; each as its row says."""
    cancelled = jobs.request_cancel(jobs.insert(new_job()).id)
    done = start(jobs, attempts)
    attempts.complete(done, [], {"images": [{"url": "/v1/images/a"}], "missing": 0}, UNPAID)
    assert recovery.find_unannounced(10) == []
    for seconds, job_id in ((9, done.job_id), (5, cancelled.id)):
        database.update_job(job_id, "finished_at = now() - make_interval(secs => %(s)s)", s=seconds)
    found = recovery.find_unannounced(10)
    assert found == [jobs.get(done.job_id), jobs.get(cancelled.id)]
    assert found[0].ending.image_urls == ("/v1/images/a",)
    assert recovery.find_unannounced(1) == found[:1]
    jobs.mark_announced(done.job_id)
    assert recovery.find_unannounced(10) == found[1:]


def test_a_step_of_the_lost_attempt_is_kept_as_its_last(
    running: Claim,
    jobs: JobStore,
    recovery: RecoveryStore,
    database: Database,
    engine: Engine,
) -> None:
    """The judge knows better than the row, which lags behind the events."""
    database.update_job(running.job_id, "max_attempts = 1")
    database.expire_lease(running.job_id)
    (lost,) = recovery.find_lost(10)
    recovery.settle(lost, lost.judge(LIMIT_SECONDS), rendering(90).progress)
    step: Step = jobs.get(running.job_id).step
    assert step.progress == 90

"""Jobs as the sweep sees them, against PostgreSQL: lost, due, ended without a word."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.database.session import create_unpooled_engine
from shared.errors import (
    JobCancelled,
    ServiceUnavailable,
    TimeLimitReached,
    WorkerLost,
    error_record,
)
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim, LostJob, Verdict, judge_lost
from shared.jobs.recovery_store import RecoveryStore
from shared.status import Step, failed, rendering
from tests.support.builders import UNPAID, build_settings, new_job
from tests.support.database import Database

LIMIT_SECONDS = 100.0


def judge(lost: LostJob) -> tuple[Verdict, int]:
    """Decide as the sweep does, where Redis remembers nothing."""
    return judge_lost(lost, LIMIT_SECONDS), lost.progress


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
    assert recovery.recover_expired(judge) is None


def test_a_lost_job_waits_for_its_next_attempt(
    running: Claim, recovery: RecoveryStore, attempts: AttemptStore, database: Database
) -> None:
    """Its attempt is closed, its worker fenced off, and it is due at once."""
    database.expire_lease(running.job_id)
    recovered = recovery.recover_expired(judge)
    assert recovered is not None
    assert (recovered.lost.job_id, recovered.ending) == (running.job_id, None)
    record = error_record(WorkerLost(1), 1)
    row, (attempt,) = database.job(running.job_id), database.attempts(running.job_id)
    assert (row["status"], row["progress"]) == ("PENDING", 0)
    assert row["message"] == "Retrying (attempt 2 of 3)"
    assert row["error"] == record
    assert row["lease_token"] == running.token + 1
    assert (attempt["outcome"], attempt["error"]) == ("lost", record)
    assert attempt["charge_state"] == "unknown"
    assert recovery.recover_expired(judge) is None
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
    recovered = recovery.recover_expired(judge)
    assert recovered is not None
    assert recovered.ending is not None
    ending = jobs.get(claim.job_id).ending
    assert recovered.ending == ending
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
    assert recovery.recover_expired(judge) is not None
    error = JobCancelled() if is_cancelled else TimeLimitReached(LIMIT_SECONDS)
    assert database.job(running.job_id)["error"] == error_record(error, 1)
    assert database.attempts(running.job_id)[0]["outcome"] == "lost"


def test_the_jobs_of_a_dead_process_are_settled_at_once(
    running: Claim, recovery: RecoveryStore, database: Database
) -> None:
    """Its lease is live, but the worker is known to be dead; no other job is touched."""
    assert recovery.recover_of_dead_owner(running.job_id, "host:2", judge) is None
    recovered = recovery.recover_of_dead_owner(running.job_id, "host:1", judge)
    assert recovered is not None
    assert recovered.verdict.revives
    assert database.job(running.job_id)["status"] == "PENDING"
    assert recovery.recover_of_dead_owner(running.job_id, "host:1", judge) is None


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
        recovered = []
        while (one := RecoveryStore(engine).recover_expired(judge)) is not None:
            recovered.append(one.lost.job_id)
        return recovered

    with ThreadPoolExecutor(4) as pool:
        recovered = [job_id for found in pool.map(sweep, range(4)) for job_id in found]
    assert sorted(recovered) == sorted(claim.job_id for claim in claims)
    assert all(database.job(claim.job_id)["lease_token"] == 2 for claim in claims)
    assert all(len(database.attempts(claim.job_id)) == 1 for claim in claims)


def test_a_row_that_is_being_judged_is_passed_over(
    jobs: JobStore, attempts: AttemptStore, recovery: RecoveryStore, database: Database
) -> None:
    """A second sweep finds the other job, without waiting for the first."""
    claims = [start(jobs, attempts) for _ in range(2)]
    for claim in claims:
        database.expire_lease(claim.job_id)
    seen = []

    def judge_slowly(lost: LostJob) -> tuple[Verdict, int]:
        inner = recovery.recover_expired(judge)
        assert inner is not None
        seen.append(inner.lost.job_id)
        assert recovery.recover_expired(judge) is None
        return judge(lost)

    outer = recovery.recover_expired(judge_slowly)
    assert outer is not None
    assert sorted([outer.lost.job_id, *seen]) == sorted(claim.job_id for claim in claims)


def test_a_judge_that_fails_leaves_the_job_as_it_was(
    running: Claim, recovery: RecoveryStore, database: Database
) -> None:
    """The transaction is rolled back."""
    database.expire_lease(running.job_id)
    before = database.job(running.job_id)

    def fail(_lost: LostJob) -> tuple[Verdict, int]:
        raise ServiceUnavailable("away")

    with pytest.raises(ServiceUnavailable, match="away"):
        recovery.recover_expired(fail)
    assert database.job(running.job_id) == before


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
    assert found == [jobs.get(done.job_id).ending, jobs.get(cancelled.id).ending]
    assert found[0].image_urls == ("/v1/images/a",)
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
    recovery.recover_expired(lambda lost: (judge(lost)[0], rendering(90).progress))
    step: Step = jobs.get(running.job_id).step
    assert step.progress == 90

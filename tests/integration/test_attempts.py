"""Claims and the writes of attempts, against PostgreSQL: fenced, idempotent, all or nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from shared.database.session import create_pooled_engine
from shared.errors import (
    JobCancelled,
    LeaseLost,
    ProviderUnavailable,
    ServiceUnavailable,
    UnknownJob,
    WorkerLost,
    error_record,
)
from shared.jobs.attempt_store import AttemptStore, KeptLease
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim, ClaimRefused, EarlierCalls, LedgerFacts
from shared.status import JobStatus, failed, rendering, waiting
from tests.support.builders import PAID, UNPAID, build_settings, image_row, new_job
from tests.support.database import Database

ERROR = error_record(ProviderUnavailable("No luck"), 1)
LOST_LEASE = "lost its lease"


@pytest.fixture
def claim(jobs: JobStore, attempts: AttemptStore) -> Claim:
    """Give the claim of the first attempt of a job."""
    return claim_of(attempts, jobs.insert(new_job()).id)


def claim_of(attempts: AttemptStore, job_id: UUID) -> Claim:
    """Claim a job that can be claimed."""
    claim = attempts.claim(job_id)
    assert isinstance(claim, Claim), claim
    return claim


def seconds_between(later: datetime, earlier: datetime) -> float:
    """Return the time between two columns of a row."""
    return (later - earlier) / timedelta(seconds=1)


def test_a_claim_takes_the_lease_and_opens_the_attempt(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """Row and ledger say who runs which attempt, and until when."""
    job = jobs.insert(new_job())
    claim = claim_of(attempts, job.id)
    assert claim == Claim(job.id, job.task_id, job.params, 1, 3, 1, (), None, 100)
    row = database.job(job.id)
    assert (row["status"], row["progress"], row["message"]) == ("PROCESSING", 5, "Starting...")
    assert (row["attempt"], row["lease_token"], row["lease_owner"]) == (1, 1, "host:1")
    assert seconds_between(row["lease_until"], row["started_at"]) == 30
    assert seconds_between(row["time_limit_at"], row["started_at"]) == 100
    (attempt,) = database.attempts(job.id)
    assert (attempt["number"], attempt["token"], attempt["runtime"]) == (1, 1, "celery")
    assert (attempt["finished_at"], attempt["charge_state"]) == (None, "unknown")


def test_of_eight_claims_at_once_exactly_one_wins(
    jobs: JobStore, database: Database, database_url: str
) -> None:
    """Duplicates of one envelope meet in every broker blip."""
    engines = [
        create_pooled_engine(build_settings(database_url).database_url, f"racer-{number}")
        for number in range(8)
    ]
    stores = [
        AttemptStore(e, runtime="celery", owner=str(n), lease_seconds=9, time_limit_seconds=10)
        for n, e in enumerate(engines)
    ]
    for _ in range(5):
        job = jobs.insert(new_job())
        barrier = threading.Barrier(len(stores))

        def race(
            store: AttemptStore, job_id: UUID = job.id, barrier: threading.Barrier = barrier
        ) -> Claim | ClaimRefused:
            barrier.wait()
            return store.claim(job_id)

        with ThreadPoolExecutor(len(stores)) as pool:
            answers = list(pool.map(race, stores))
        assert sum(isinstance(answer, Claim) for answer in answers) == 1
        assert answers.count(ClaimRefused("running")) == 7
        assert len(database.attempts(job.id)) == 1
    for engine in engines:
        engine.dispose()


def test_a_running_job_is_not_claimed_again(claim: Claim, attempts: AttemptStore) -> None:
    """Its lease is live."""
    assert attempts.claim(claim.job_id) == ClaimRefused("running")


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_an_ended_job_is_not_claimed_again(claim: Claim, attempts: AttemptStore, end: str) -> None:
    """A late duplicate changes nothing."""
    if end == "complete":
        attempts.complete(claim, [], {"images": [], "missing": 0}, UNPAID)
    else:
        attempts.fail(claim, failed(5, "No luck"), ERROR, UNPAID)
    assert attempts.claim(claim.job_id) == ClaimRefused("ended")


def test_a_job_that_is_not_due_says_how_long_to_wait(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """The envelope then comes back at the right time."""
    attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 20)
    refused = attempts.claim(claim.job_id)
    assert isinstance(refused, ClaimRefused)
    assert refused.reason == "not_due"
    assert 15 < refused.due_in_seconds <= 20
    database.update_job(claim.job_id, "next_attempt_at = now()")
    assert claim_of(attempts, claim.job_id).attempt == 2


def test_an_unknown_job_cannot_be_claimed(attempts: AttemptStore) -> None:
    """The envelope is not ours."""
    with pytest.raises(UnknownJob):
        attempts.claim(uuid4())


def test_a_worker_that_finds_an_expired_lease_takes_over(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """The lost attempt is closed in the ledger with the very record that the sweep writes."""
    database.expire_lease(claim.job_id)
    second = claim_of(attempts, claim.job_id)
    assert (second.attempt, second.token) == (2, 2)
    lost, opened = database.attempts(claim.job_id)
    assert lost["outcome"] == "lost"
    assert lost["error"] == error_record(WorkerLost(1), 1)
    assert lost["finished_at"] is not None
    assert (opened["number"], opened["token"], opened["finished_at"]) == (2, 2, None)
    row = database.job(claim.job_id)
    assert row["started_at"] == lost["started_at"]
    assert row["error"] is None


@pytest.mark.parametrize(
    "assignments",
    [
        "time_limit_at = lease_until",
        "cancel_requested_at = now()",
        "max_attempts = 1",
    ],
)
def test_what_only_the_sweep_may_end_is_not_taken_over(
    claim: Claim, attempts: AttemptStore, database: Database, assignments: str
) -> None:
    """A job at its time limit, cancelled, or out of attempts runs no more."""
    database.expire_lease(claim.job_id)
    database.update_job(claim.job_id, assignments)
    before = database.job(claim.job_id), database.attempts(claim.job_id)
    assert attempts.claim(claim.job_id) == ClaimRefused("running")
    assert (database.job(claim.job_id), database.attempts(claim.job_id)) == before


def test_extending_says_what_is_held_and_what_is_cancelled(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """All leases of a process at once; one that was lost is missing from the answer."""
    held, lost, cancelled = (claim_of(attempts, jobs.insert(new_job()).id) for _ in range(3))
    database.update_job(lost.job_id, "lease_token = 9")
    jobs.request_cancel(cancelled.job_id)
    database.update_job(held.job_id, "lease_until = now() + interval '1 second'")
    leases = [KeptLease(c.job_id, c.token, rendering(50)) for c in (held, lost, cancelled)]
    assert attempts.extend(leases) == {
        (held.job_id, held.token): False,
        (cancelled.job_id, cancelled.token): True,
    }
    row = database.job(held.job_id)
    assert (row["progress"], row["message"]) == (50, "Rendering...")
    assert seconds_between(row["lease_until"], row["started_at"]) > 29
    assert database.job(lost.job_id)["progress"] == 5


def test_no_lease_outlasts_the_time_limit(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """A worker that lives but hangs is found at its limit."""
    for limit, left_seconds in (("6 seconds", 0.001), ("2 seconds", 0)):
        database.update_job(claim.job_id, f"time_limit_at = now() + interval '{limit}'")
        attempts.extend([KeptLease(claim.job_id, claim.token, rendering(50))])
        row = database.job(claim.job_id)
        # Only what is extended in the last three seconds has reached the limit.
        assert seconds_between(row["time_limit_at"], row["lease_until"]) == left_seconds


def test_completing_writes_rows_and_end_together(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """Job, ledger and images agree."""
    images = [image_row(position, uuid4()) for position in range(2)]
    result = {"images": [{"url": image["url"]} for image in images], "missing": 0}
    ending = attempts.complete(claim, images, result, PAID)
    row = database.job(claim.job_id)
    assert (row["status"], row["progress"], row["message"]) == ("COMPLETED", 100, "Completed")
    assert row["result"] == result
    assert row["finished_at"] == ending.finished_at
    assert ending.image_urls == tuple(image["url"] for image in images)
    assert (row["lease_until"], row["lease_owner"], row["time_limit_at"]) == (None, None, None)
    (attempt,) = database.attempts(claim.job_id)
    assert (attempt["outcome"], attempt["charge_state"]) == ("completed", "charged")
    assert attempt["error"] is None
    stored = database.images(claim.job_id)
    assert [{**image, "id": str(image["id"])} for image in stored] == [
        {**image, "job_id": str(claim.job_id), "created_at": row["finished_at"]} for image in images
    ]


def test_completing_twice_is_completing_once(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """A call that is repeated after a lost answer returns the same."""
    images, result = [image_row(0, uuid4())], {"images": [], "missing": 0}
    first = attempts.complete(claim, images, result, PAID)
    before = database.job(claim.job_id)
    assert attempts.complete(claim, images, result, PAID) == first
    assert database.job(claim.job_id) == before
    assert len(database.images(claim.job_id)) == 1


def test_the_last_attempt_may_complete_with_images_missing(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """The ledger keeps why."""
    attempts.complete(claim, [], {"images": [], "missing": 1}, PAID, ERROR)
    assert database.attempts(claim.job_id)[0]["error"] == ERROR
    assert database.job(claim.job_id)["error"] is None


def test_an_image_that_cannot_be_written_undoes_the_end(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """All or nothing: one bad row keeps the job running."""
    twice = [image_row(0, uuid4()), image_row(0, uuid4())]
    before = database.job(claim.job_id)
    with pytest.raises(Exception, match="uq_images_job_id_position"):
        attempts.complete(claim, twice, {"images": [], "missing": 0}, PAID)
    assert database.job(claim.job_id) == before
    assert not database.images(claim.job_id)


def test_an_outdated_attempt_changes_nothing(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """Another has taken over: every write of the first is refused."""
    database.expire_lease(claim.job_id)
    claim_of(attempts, claim.job_id)
    before = database.job(claim.job_id), database.attempts(claim.job_id)
    with pytest.raises(LeaseLost, match=LOST_LEASE):
        attempts.complete(claim, [image_row(0, uuid4())], {"images": []}, PAID)
    with pytest.raises(LeaseLost, match=LOST_LEASE):
        attempts.fail(claim, failed(5, "No luck"), ERROR, UNPAID)
    with pytest.raises(LeaseLost, match=LOST_LEASE):
        attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 0)
    assert not attempts.release(claim, waiting(1, 3))
    attempts.give_up(claim)
    assert attempts.extend([KeptLease(claim.job_id, claim.token, rendering(90))]) == {}
    assert (database.job(claim.job_id), database.attempts(claim.job_id)) == before
    assert not database.images(claim.job_id)


def test_an_attempt_cannot_end_a_job_that_has_ended_otherwise(
    claim: Claim, attempts: AttemptStore
) -> None:
    """Completed stays completed, and failed stays failed."""
    attempts.fail(claim, failed(5, "No luck"), ERROR, UNPAID)
    with pytest.raises(LeaseLost):
        attempts.complete(claim, [], {"images": []}, UNPAID)
    with pytest.raises(LeaseLost):
        attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 0)


def test_failing_writes_the_reason_and_is_idempotent(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """Row and ledger hold the same record."""
    first = attempts.fail(claim, failed(50, "No luck"), ERROR, PAID)
    row, ledger = database.job(claim.job_id), database.attempts(claim.job_id)
    assert (row["status"], row["progress"], row["message"]) == ("FAILED", 50, "No luck")
    assert row["error"] == ERROR
    assert (ledger[0]["outcome"], ledger[0]["error"]) == ("failed", ERROR)
    assert ledger[0]["charge_state"] == "charged"
    again = attempts.fail(claim, failed(50, "No luck"), ERROR, UNPAID)
    assert again == first
    assert database.attempts(claim.job_id) == ledger
    assert (database.job(claim.job_id), database.attempts(claim.job_id)) == (row, ledger)


def test_retrying_lets_the_job_wait_and_is_idempotent(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """In its row, without an envelope, until the attempt is due."""
    attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 20)
    row, ledger = database.job(claim.job_id), database.attempts(claim.job_id)
    assert (row["status"], row["progress"]) == ("PENDING", 0)
    assert row["message"] == "Retrying (attempt 2 of 3)"
    assert row["error"] == ERROR
    assert (row["dispatched_at"], row["dispatches"]) == (None, 0)
    assert row["next_attempt_at"] > datetime.now(UTC) + timedelta(seconds=15)
    assert (ledger[0]["outcome"], ledger[0]["error"]) == ("failed", ERROR)
    attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 500)
    assert (database.job(claim.job_id), database.attempts(claim.job_id)) == (row, ledger)


def test_a_later_attempt_knows_what_the_earlier_ones_cost(
    claim: Claim, attempts: AttemptStore, jobs: JobStore
) -> None:
    """Of its own job alone, and its own line is not among them."""
    other = claim_of(attempts, jobs.insert(new_job()).id)
    attempts.retry(other, waiting(2, 3), ERROR, PAID, 0)
    assert attempts.earlier_calls(claim) == EarlierCalls()
    attempts.retry(claim, waiting(2, 3), ERROR, PAID, 0)
    second = claim_of(attempts, claim.job_id)
    assert attempts.earlier_calls(second) == EarlierCalls(0, 40_000, 1, is_billed=True)
    attempts.retry(second, waiting(3, 3), ERROR, LedgerFacts("unknown"), 0)
    third = claim_of(attempts, claim.job_id)
    assert attempts.earlier_calls(third) == EarlierCalls(1, 40_000, 1, is_billed=True)


def test_a_cancelled_job_is_not_retried(
    claim: Claim, attempts: AttemptStore, jobs: JobStore, database: Database
) -> None:
    """Its attempt may only fail it, or complete it."""
    jobs.request_cancel(claim.job_id)
    with pytest.raises(LeaseLost):
        attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 0)
    assert not attempts.release(claim, waiting(1, 3))
    assert database.job(claim.job_id)["status"] == "PROCESSING"
    attempts.fail(claim, failed(5, "Cancelled"), error_record(JobCancelled(), 1), UNPAID)


def test_releasing_undoes_the_first_attempt(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """As if it had never been: the ledger is empty and the job has not started."""
    assert attempts.release(claim, waiting(1, 3))
    row = database.job(claim.job_id)
    assert (row["status"], row["message"], row["attempt"]) == ("PENDING", "Queued", 0)
    assert (row["started_at"], row["dispatched_at"], row["lease_until"]) == (None, None, None)
    assert database.attempts(claim.job_id) == []
    assert not attempts.release(claim, waiting(1, 3))
    again = claim_of(attempts, claim.job_id)
    assert (again.attempt, again.token) == (1, 2)


def test_releasing_a_later_attempt_keeps_the_earlier_ones(
    claim: Claim, attempts: AttemptStore, database: Database
) -> None:
    """The job started when its first attempt did."""
    attempts.retry(claim, waiting(2, 3), ERROR, UNPAID, 0)
    second = claim_of(attempts, claim.job_id)
    started_at = database.job(claim.job_id)["started_at"]
    assert attempts.release(second, waiting(2, 3))
    row = database.job(claim.job_id)
    assert (row["attempt"], row["started_at"]) == (1, started_at)
    assert [attempt["number"] for attempt in database.attempts(claim.job_id)] == [1]


def test_a_lease_that_is_given_up_can_be_taken_over_at_once(
    claim: Claim, attempts: AttemptStore
) -> None:
    """The attempt counts, as its provider may have been paid."""
    attempts.give_up(claim)
    assert claim_of(attempts, claim.job_id).attempt == 2


def test_a_row_that_another_holds_makes_the_claim_wait_for_two_seconds_at_most(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """A lock timeout counts as an unavailable server, and the statement is repeated."""
    job = jobs.insert(new_job())
    with database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM generation_jobs WHERE id = %s FOR UPDATE", (str(job.id),))
        with pytest.raises(ServiceUnavailable, match="lock timeout"):
            attempts.claim(job.id)
    assert isinstance(attempts.claim(job.id), Claim)


def test_two_leases_of_one_process_do_not_mix(
    jobs: JobStore, attempts: AttemptStore, engine: Engine
) -> None:
    """A token of another job is no fence for this one."""
    first, second = (claim_of(attempts, jobs.insert(new_job()).id) for _ in range(2))
    other = replace(first, job_id=second.job_id, token=99)
    with pytest.raises(LeaseLost):
        attempts.fail(other, failed(0, "x"), ERROR, UNPAID)
    assert jobs.get(second.job_id).status is JobStatus.PROCESSING

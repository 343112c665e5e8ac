"""Jobs as their owners see them, against PostgreSQL: accepted, read, cancelled, announced."""

from uuid import UUID, uuid4

import pytest

from shared.errors import InvalidRequest, UnknownJob
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim
from shared.status import JobStatus, Step
from tests.support.builders import UNPAID, new_job
from tests.support.database import Database


@pytest.fixture
def shop(database: Database) -> Database:
    """Give a database with two workspaces, each with a user and a product."""
    for workspace in ("north", "south"):
        database.fetch(
            "INSERT INTO workspaces (id, name) VALUES (%(w)s, %(w)s);"
            "INSERT INTO users (id, workspace_id) VALUES ('u-' || %(w)s, %(w)s);"
            "INSERT INTO products (id, workspace_id, name) VALUES ('p-' || %(w)s, %(w)s, 'mug')",
            w=workspace,
        )
    return database


def claim(attempts: AttemptStore, job_id: UUID) -> Claim:
    """Claim a job that can be claimed."""
    claimed = attempts.claim(job_id)
    assert isinstance(claimed, Claim)
    return claimed


def test_an_accepted_job_waits_with_a_task_id_of_its_own(
    jobs: JobStore, database: Database
) -> None:
    """In its row, as no worker has announced a slot for it."""
    new = new_job(max_attempts=5)
    job = jobs.insert(new)
    assert job.step == Step(JobStatus.PENDING, 0, "Queued")
    assert (job.attempt, job.max_attempts, job.params) == (0, 5, new.params)
    assert str(job.id) != job.task_id
    assert job.created_at.tzinfo is not None
    row = database.job(job.id)
    assert (row["dispatches"], row["lease_token"]) == (0, 0)
    assert (row["dispatched_at"], row["released_to"]) == (None, None)
    assert jobs.get(job.id) == job


def test_a_job_belongs_to_the_owners_that_it_names(shop: Database, jobs: JobStore) -> None:
    """A user and a product of the same workspace."""
    job = jobs.insert(new_job(workspace_id="north", user_id="u-north", product_id="p-north"))
    assert (job.workspace_id, job.user_id, job.product_id) == ("north", "u-north", "p-north")


@pytest.mark.parametrize(
    ("owners", "name", "value"),
    [
        ({"workspace_id": "west"}, "workspace_id", "west"),
        ({"workspace_id": "north", "user_id": "unknown"}, "user_id", "unknown"),
        ({"workspace_id": "north", "user_id": "u-south"}, "user_id", "u-south"),
        ({"workspace_id": "north", "product_id": "nothing"}, "product_id", "nothing"),
        ({"workspace_id": "north", "product_id": "p-south"}, "product_id", "p-south"),
        (
            {"workspace_id": "north", "user_id": "u-north", "product_id": "p-south"},
            "product_id",
            "p-south",
        ),
    ],
)
def test_a_stranger_is_named(
    shop: Database, jobs: JobStore, owners: dict[str, str], name: str, value: str
) -> None:
    """What does not exist, or belongs to another workspace, is no owner."""
    with pytest.raises(InvalidRequest) as caught:
        jobs.insert(new_job(n=1, max_attempts=3, **owners))
    assert str(caught.value).startswith(f"{name}: ")
    assert repr(value) in str(caught.value)
    assert shop.fetch("SELECT 1 FROM generation_jobs") == []


def test_an_unknown_job_is_an_error(jobs: JobStore) -> None:
    """`get` raises."""
    with pytest.raises(UnknownJob):
        jobs.get(UUID(int=0))


def test_a_job_is_hidden_from_other_workspaces(shop: Database, jobs: JobStore) -> None:
    """Reading and cancelling it is as if it did not exist."""
    job = jobs.insert(new_job(workspace_id="north"))
    assert jobs.get(job.id, "north") == job
    for method in (jobs.get, jobs.request_cancel):
        with pytest.raises(UnknownJob):
            method(job.id, "south")
    assert jobs.get(job.id).status is JobStatus.PENDING


def test_cancelling_a_waiting_job_ends_it(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    """At once, with the reason, and fenced against late writers."""
    job = jobs.request_cancel(jobs.insert(new_job()).id)
    assert job.step == Step(JobStatus.FAILED, 0, "Cancelled")
    assert job.error == {
        "code": "cancelled",
        "message": "Cancelled",
        "retryable": False,
        "attempt": 0,
    }
    assert job.lease_token == 1
    assert job.finished_at == job.cancel_requested_at
    assert job.ending.error_code == "cancelled"
    refused = attempts.claim(job.id)
    assert not isinstance(refused, Claim)
    assert refused.reason == "ended"


def test_cancelling_a_job_between_two_attempts_ends_it(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    """The error names the attempt that was the last."""
    first = claim(attempts, jobs.insert(new_job()).id)
    attempts.retry(first, Step(JobStatus.PENDING, 0, "Retrying"), {"code": "x"}, UNPAID, 60)
    job = jobs.request_cancel(first.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error["code"], job.error["attempt"]) == ("cancelled", 1)
    assert job.next_attempt_at is None


def test_cancelling_a_running_job_leaves_a_note(jobs: JobStore, attempts: AttemptStore) -> None:
    """Its worker finds it; asking twice keeps the first time."""
    running = claim(attempts, jobs.insert(new_job()).id)
    first = jobs.request_cancel(running.job_id)
    assert first.status is JobStatus.PROCESSING
    assert first.cancel_requested_at is not None
    assert first.lease_token == running.token
    assert jobs.request_cancel(running.job_id) == first


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_cancelling_an_ended_job_changes_nothing(
    jobs: JobStore, attempts: AttemptStore, end: str
) -> None:
    """The end stands."""
    job_id = jobs.insert(new_job()).id
    if end == "cancelled":
        jobs.request_cancel(job_id)
    elif end == "completed":
        attempts.complete(claim(attempts, job_id), [], {"images": []}, UNPAID)
    else:
        failed = Step(JobStatus.FAILED, 5, "x")
        attempts.fail(claim(attempts, job_id), failed, {"code": "x"}, UNPAID)
    before = jobs.get(job_id)
    assert before.status.is_terminal
    assert jobs.request_cancel(job_id) == before


def test_cancelling_an_unknown_job_is_an_error(jobs: JobStore) -> None:
    """There is nothing to cancel."""
    with pytest.raises(UnknownJob):
        jobs.request_cancel(uuid4())


def test_an_announcement_is_noted_once(jobs: JobStore) -> None:
    """The first time stands."""
    job = jobs.request_cancel(jobs.insert(new_job()).id)
    jobs.mark_announced(job.id)
    first = jobs.get(job.id).announced_at
    jobs.mark_announced(job.id)
    assert first is not None
    assert jobs.get(job.id).announced_at == first

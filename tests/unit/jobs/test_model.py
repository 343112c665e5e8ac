"""What becomes of a job that lost its worker, and what its end says."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.jobs.model import Claim, Job, LostJob, ending_of
from shared.status import COMPLETED, Ending, JobStatus, Step, failed

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LOST = LostJob(UUID(int=1), "task", 1, 3, 5, 50, is_cancelled=False, reached_time_limit=False)
JOB = Job(
    id=UUID(int=1),
    task_id="task",
    workspace_id="default",
    user_id=None,
    product_id=None,
    source_asset_id=None,
    status=JobStatus.FAILED,
    progress=50,
    message="No luck",
    params={},
    result=None,
    error={"code": "internal"},
    attempt=2,
    max_attempts=3,
    priority=0,
    start_by=None,
    next_attempt_at=None,
    lease_token=4,
    cancel_requested_at=None,
    announced_at=None,
    created_at=NOW,
    started_at=NOW,
    finished_at=NOW,
)


@pytest.mark.parametrize(
    ("attempt", "is_cancelled", "at_limit", "code", "revives"),
    [
        (1, False, False, "worker_lost", True),
        (2, False, False, "worker_lost", True),
        (3, False, False, "worker_lost", False),
        (1, False, True, "time_limit", False),
        (3, False, True, "time_limit", False),
        (1, True, False, "cancelled", False),
        (3, True, False, "cancelled", False),
        (1, True, True, "cancelled", False),
    ],
)
def test_the_verdict_on_a_lost_job(
    attempt: int, is_cancelled: bool, at_limit: bool, code: str, revives: bool
) -> None:
    """Only a worker's death leads to another attempt, and only while there is one."""
    lost = replace(LOST, attempt=attempt, is_cancelled=is_cancelled, reached_time_limit=at_limit)
    error = lost.judge(330)
    assert (error.code, lost.revives_after(error)) == (code, revives)


def test_the_verdicts_name_the_limit_and_the_attempt() -> None:
    """The row says what happened to which attempt."""
    lost = replace(LOST, attempt=2).judge(330)
    limited = replace(LOST, reached_time_limit=True).judge(330)
    assert str(lost) == "The worker was lost during attempt 2"
    assert str(limited) == "Killed at the time limit of 330 s"


def test_a_claim_knows_whether_it_is_the_last() -> None:
    """After the last attempt there is no retry."""
    claim = Claim(UUID(int=1), "task", {}, 2, 3, 1)
    assert not claim.is_last
    assert replace(claim, attempt=3).is_last


def test_the_ending_of_a_failed_job_says_its_code() -> None:
    """The result record is made of it."""
    step = Step(JobStatus.FAILED, 50, "No luck")
    assert JOB.step == step
    assert JOB.ending == Ending(JOB.id, "task", 4, step, NOW, (), "internal")
    assert failed(50, "No luck") == step


def test_the_ending_of_a_job_that_waited_says_for_which_attempt() -> None:
    """The waiting event may have to be published before the last one."""
    step = failed(0, "Cancelled")
    waited = ending_of(UUID(int=1), "task", 3, step, NOW, attempts=(1, 3))
    assert (waited.waited_for, waited.max_attempts) == (2, 3)
    ran = ending_of(UUID(int=1), "task", 3, failed(5, "No luck"), NOW, attempts=(1, 3))
    assert (ran.waited_for, ran.max_attempts) == (0, 0)


def test_the_ending_of_a_completed_job_lists_its_images_in_order() -> None:
    """Their addresses stand in the result by position."""
    result = {"images": [{"url": "/v1/images/a"}, {"url": "/v1/images/b"}], "missing": 0}
    ending = ending_of(UUID(int=1), "task", 3, COMPLETED, NOW, result=result)
    assert ending.image_urls == ("/v1/images/a", "/v1/images/b")
    assert ending.error_code == ""

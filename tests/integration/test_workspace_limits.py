"""What workspaces may submit and run, on PostgreSQL: counted, refused, paused, started in time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    TooManyOpenJobs,
    TooManySubmissions,
)
from shared.jobs.acceptance import Accepted, Terms
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim, ClaimRefused, Priority
from shared.jobs.recovery_store import RecoveryStore
from shared.jobs.release_store import ReleaseStore
from shared.jobs.views import JobViews
from shared.jobs.workspace_limits import LimitStore, OwnLimits, Quota, SubmissionLimits
from tests.support.builders import new_job
from tests.support.database import Database, Insert

LIMITS = SubmissionLimits(open_jobs=500, submissions_per_minute=60)


@pytest.fixture
def attempts(engine: Engine, database: Database) -> AttemptStore:
    """Give the store of attempts of a worker that calls the mock provider."""
    return AttemptStore(
        engine,
        runtime="celery",
        owner="host:1",
        lease_seconds=30,
        time_limit_seconds=100,
        models={"mock-1": "mock"},
    )


def accept(jobs: JobStore, terms: Terms | None = None) -> Accepted:
    """Accept a job of the workspace `default`."""
    return jobs.accept(new_job(), terms or Terms(LIMITS))


def test_each_submission_uses_up_what_is_left(jobs: JobStore) -> None:
    """Of the open jobs and of the minute, which begins with the first."""
    assert accept(jobs).quotas == (
        Quota("open-jobs", 500, 499),
        Quota("submissions", 60, 59, 60, 60),
    )
    assert [quota.remaining for quota in accept(jobs).quotas] == [498, 58]
    assert accept(jobs, Terms(SubmissionLimits(500))).quotas == (Quota("open-jobs", 500, 497),)
    assert accept(jobs, Terms()).quotas == ()


def test_a_row_of_the_workspace_overrides_the_settings(jobs: JobStore, limits: LimitStore) -> None:
    """From the next request on, in both directions; other workspaces keep the settings."""
    limits.set("default", {"open_jobs": 2, "submissions_per_minute": 100})
    assert [quota.limit for quota in accept(jobs).quotas] == [2, 100]
    accept(jobs)
    with pytest.raises(TooManyOpenJobs) as caught:
        accept(jobs)
    assert (caught.value.limit, caught.value.retry_after_seconds) == (2, 5)
    limits.set("default", {"open_jobs": None})
    assert [quota.limit for quota in accept(jobs).quotas] == [500, 100]
    tight = Terms(SubmissionLimits(open_jobs=1))
    limits.set("default", {"open_jobs": 4})
    assert [quota.remaining for quota in accept(jobs, tight).quotas] == [0, 96]


def test_submissions_of_a_minute_are_limited(
    jobs: JobStore, limits: LimitStore, database: Database
) -> None:
    """The refusal says when the minute is over; then all of it may be used again."""
    limits.set("default", {"submissions_per_minute": 2})
    accept(jobs)
    database.fetch("UPDATE submission_windows SET began_at = began_at - interval '20 seconds'")
    assert accept(jobs).quotas[1] == Quota("submissions", 2, 0, 60, 40)
    with pytest.raises(TooManySubmissions) as caught:
        accept(jobs)
    assert (caught.value.limit, caught.value.retry_after_seconds) == (2, 40)
    assert len(database.fetch("SELECT 1 FROM generation_jobs")) == 2
    database.fetch("UPDATE submission_windows SET began_at = began_at - interval '40 seconds'")
    assert accept(jobs).quotas[1] == Quota("submissions", 2, 1, 60, 60)


def test_submissions_at_once_are_counted_one_by_one(jobs: JobStore, limits: LimitStore) -> None:
    """Whichever process receives them."""
    limits.set("default", {"submissions_per_minute": 5})

    def is_accepted(_number: int) -> bool:
        try:
            accept(jobs)
        except TooManySubmissions:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(is_accepted, range(24))) == 5


def test_a_limit_of_none_at_all_refuses_every_request(jobs: JobStore, limits: LimitStore) -> None:
    """A workspace is shut out by a number."""
    limits.set("default", {"submissions_per_minute": 0})
    with pytest.raises(TooManySubmissions):
        accept(jobs)
    limits.set("default", {"open_jobs": 0})
    with pytest.raises(TooManyOpenJobs):
        accept(jobs)


def test_a_repeated_request_finds_its_job_at_the_limit(jobs: JobStore, limits: LimitStore) -> None:
    """It asks for nothing new; another request with its key is refused as ever."""
    terms = Terms(LIMITS, key="k", request_sha256="a")
    first = accept(jobs, terms)
    limits.set("default", {"submissions_per_minute": 1, "open_jobs": 1})
    again = accept(jobs, terms)
    assert (again.is_new, again.job.id, again.quotas) == (False, first.job.id, ())
    with pytest.raises(IdempotencyKeyReused):
        accept(jobs, replace(terms, request_sha256="b"))


def test_limits_are_shown_as_they_were_set(limits: LimitStore, database: Database) -> None:
    """One at a time; a workspace without any is not listed."""
    assert limits.list() == []
    none = OwnLimits("default", *[None] * 7)
    assert limits.set("default", {"running_jobs": 3}) == replace(none, running_jobs=3)
    both = replace(none, running_jobs=3, open_jobs=7)
    assert limits.set("default", {"open_jobs": 7}) == both
    assert limits.list() == limits.list("default") == [both]
    limits.set("default", {"open_jobs": None, "running_jobs": None})
    assert limits.list() == []
    for write in (limits.pause, lambda name: limits.set(name, {"open_jobs": 1})):
        with pytest.raises(InvalidRequest, match="no workspace 'nowhere'"):
            write("nowhere")


def test_a_workspace_may_ask_only_for_its_models(limits: LimitStore, jobs: JobStore) -> None:
    """Whether it names one or the default one is asked; a list without names lets none pass."""
    limits.set("default", {"models": ["mock-mini"]})
    accepted = jobs.accept(new_job(provider="mock", model="mock-mini"), Terms(LIMITS)).job
    assert (accepted.provider, accepted.model) == ("mock", "mock-mini")
    with pytest.raises(InvalidRequest, match="model: workspace 'default' may ask for mock-mini"):
        jobs.accept(new_job(provider="mock", model="mock-1"), Terms(LIMITS))
    limits.set("default", {"models": []})
    with pytest.raises(InvalidRequest, match="may ask for none"):
        jobs.accept(new_job(provider="mock", model="mock-mini"), Terms(LIMITS))
    limits.set("default", {"models": None})
    assert jobs.accept(new_job(provider="mock", model="mock-1"), Terms(LIMITS)).is_new


def test_a_paused_provider_holds_back_its_own_jobs_alone(
    limits: LimitStore, jobs: JobStore, releases: ReleaseStore, engine: Engine
) -> None:
    """Those of another provider pass them, in the order that they have anyway."""
    limits.pause_provider("other")
    terms = Terms(LIMITS)
    waits = jobs.accept(new_job(provider="other", model="far"), terms).job
    runs = jobs.accept(new_job(provider="mock", model="mock-1"), terms).job
    views = JobViews(engine, releases.rules)
    place = views.get(runs.id, "default").place
    assert place is not None
    assert place.ahead == 0
    assert [job.job_id for job in releases.release()] == [runs.id]
    limits.resume_provider("other")
    assert [job.job_id for job in releases.release()] == [waits.id]


@pytest.mark.parametrize("kind", ["workspace", "provider"])
def test_a_pause_holds_back_what_is_not_running_yet(
    limits: LimitStore,
    insert: Insert,
    releases: ReleaseStore,
    attempts: AttemptStore,
    database: Database,
    kind: str,
) -> None:
    """Also a job whose envelope is on its way: it goes back into its row, and is released anew."""
    job_id = insert()
    releases.release()
    if kind == "workspace":
        assert limits.pause("default").paused_at == limits.pause("default").paused_at
    else:
        limits.pause_provider("mock")
        limits.pause_provider("mock")
        assert list(limits.paused_providers()) == ["mock"]
    assert attempts.claim(job_id) == ClaimRefused("paused")
    assert database.job(job_id)["dispatched_at"] is None
    assert releases.release() == []
    resume = limits.resume if kind == "workspace" else limits.resume_provider
    name = "default" if kind == "workspace" else "mock"
    assert [resume(name), resume(name)] == [True, False]
    assert [job.job_id for job in releases.release()] == [job_id]
    assert isinstance(attempts.claim(job_id), Claim)


def test_a_submission_of_a_held_back_workspace_waits_in_its_row(
    limits: LimitStore, releases: ReleaseStore, jobs: JobStore
) -> None:
    """Although there is room: the release step knows how many it may run."""
    terms = Terms(release=releases.rules)
    assert accept(jobs, terms).envelope is not None
    default = Terms(release=replace(releases.rules, running_limit=5))
    assert accept(jobs, default).envelope is None
    assert len(releases.release()) == 1
    limits.set("default", {"running_jobs": 5})
    assert accept(jobs, terms).envelope is None
    assert len(releases.release()) == 1
    limits.set("default", {"running_jobs": None})
    limits.pause("default")
    assert accept(jobs, terms).envelope is None


def test_the_order_of_a_request_stands_in_its_row(jobs: JobStore, database: Database) -> None:
    """Its priority, and until when it may start."""
    new = replace(new_job(), priority=Priority.HIGH, start_within_seconds=90)
    row = database.job(jobs.insert(new).id)
    assert row["priority"] == 1
    assert (row["start_by"] - row["created_at"]).total_seconds() == 90
    row = database.job(jobs.insert(new_job()).id)
    assert (row["priority"], row["start_by"]) == (0, None)


def late(insert: Insert, **columns: object) -> UUID:
    """Insert a job that should have started."""
    return insert(start_by="2020-01-01Z", **columns)


def test_a_job_that_is_late_never_starts_and_ends_cancelled(
    insert: Insert, releases: ReleaseStore, attempts: AttemptStore, recovery: RecoveryStore
) -> None:
    """Neither released nor claimed, also if its envelope is out already."""
    waiting, out = late(insert), late(insert, dispatched_at="2020-01-01Z")
    assert releases.release() == []
    assert attempts.claim(out) == ClaimRefused("late")
    ended = recovery.end_late(10)
    assert {job.id for job in ended} == {waiting, out}
    assert {job.ending.error_code for job in ended} == {"cancelled"}
    assert {job.message for job in ended} == {"Cancelled: not started in time"}
    assert recovery.end_late(10) == []
    assert attempts.claim(out) == ClaimRefused("ended")


def test_a_job_that_started_in_time_is_never_late(
    insert: Insert, attempts: AttemptStore, recovery: RecoveryStore
) -> None:
    """Its retry may start when it is due."""
    retry = late(insert, attempt=1, next_attempt_at="2020-01-01Z")
    in_time = insert(start_by="2099-01-01Z")
    assert recovery.end_late(10) == []
    assert isinstance(attempts.claim(retry), Claim)
    assert isinstance(attempts.claim(in_time), Claim)


def test_late_jobs_are_ended_beside_one_that_is_locked(
    insert: Insert, recovery: RecoveryStore, database: Database
) -> None:
    """It is ended by the next sweep."""
    first, second = late(insert), late(insert)
    with database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM generation_jobs WHERE id = %s FOR UPDATE", (str(first),))
        assert [job.id for job in recovery.end_late(10)] == [second]
    assert [job.id for job in recovery.end_late(10)] == [first]

"""Where a job waits, on PostgreSQL: as many jobs ahead as are then released before it."""

import random
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.jobs.attempt_store import AttemptStore
from shared.jobs.model import Claim
from shared.jobs.release_store import ReleaseRules, ReleaseStore
from shared.jobs.views import PLACES_COUNTED, WORKSPACES_COMPARED, JobViews, Place
from tests.support.database import Database, Insert

RULES = ReleaseRules("celery", "mock")
SLOTS = 50


@pytest.fixture
def store(engine: Engine, database: Database) -> ReleaseStore:
    """Give the store of the release step, with slots for all."""
    store = ReleaseStore(engine, RULES)
    store.note_worker("host:1", SLOTS, "0", 600)
    return store


@pytest.fixture
def views(engine: Engine, database: Database) -> JobViews:
    """Give jobs as clients see them."""
    return JobViews(engine, RULES)


def place_of(views: JobViews, database: Database, job_id: UUID) -> Place | None:
    """Return where a job waits."""
    return views.get(job_id, database.job(job_id)["workspace_id"]).place


def ahead_of(views: JobViews, database: Database, job_id: UUID) -> int | None:
    """Return how many jobs start before it."""
    place = place_of(views, database, job_id)
    assert place is not None
    return place.ahead


@pytest.mark.parametrize("seed", range(6))
def test_a_place_is_that_of_the_release(
    store: ReleaseStore, views: JobViews, database: Database, insert: Insert, seed: int
) -> None:
    """Whatever waits: workspaces that run some, priorities, due retries, envelopes on their way."""
    chance = random.Random(seed)
    names = [f"shop-{n}" for n in range(chance.randint(1, 5))]
    jobs = [
        insert(chance.choice(names), priority=chance.choice((-1, 0, 0, 0, 1))) for _ in range(40)
    ]
    for _ in range(chance.randint(0, 3)):
        insert(chance.choice(names), attempt=1, next_attempt_at="2020-01-01Z")
    out = [insert(chance.choice(names), dispatched_at="2020-01-01Z") for _ in range(5)]
    places = {job_id: ahead_of(views, database, job_id) for job_id in jobs}
    released = [job.job_id for job in store.release()]
    assert {
        job_id: len(out) + released.index(job_id) for job_id in jobs if job_id in released
    } == places


def test_a_job_whose_envelope_is_out_waits_for_those_before_it(
    store: ReleaseStore, views: JobViews, database: Database, insert: Insert
) -> None:
    """It waits behind a running job, or is on its way."""
    first = insert(dispatched_at="2020-01-01Z")
    second = insert(dispatched_at="2020-01-02Z")
    assert [ahead_of(views, database, job_id) for job_id in (first, second)] == [0, 1]


def test_a_job_that_waits_for_a_retry_or_runs_has_no_place(
    views: JobViews, database: Database, insert: Insert, attempts: AttemptStore
) -> None:
    """The one says when it is due, the other has begun."""
    due = insert(attempt=1, next_attempt_at="2099-01-01Z")
    running = insert()
    assert isinstance(attempts.claim(running), Claim)
    assert [place_of(views, database, job_id) for job_id in (due, running)] == [None, None]


def test_a_paused_workspace_is_ahead_of_none(
    views: JobViews, database: Database, insert: Insert
) -> None:
    """Its own jobs have a place, but no time."""
    paused, other = insert("paused"), insert("other")
    database.fetch(
        "INSERT INTO workspace_limits (workspace_id, paused_at) VALUES ('paused', now())"
    )
    assert ahead_of(views, database, other) == 0
    assert place_of(views, database, paused) == Place(0, None)


def test_a_place_far_back_is_not_counted(
    views: JobViews, database: Database, insert: Insert
) -> None:
    """Neither behind many jobs nor among many workspaces."""
    bulk = (
        "INSERT INTO workspaces (id, name) SELECT 'w' || n, 'x' FROM generate_series(1, %(w)s) n;"
        "INSERT INTO generation_jobs (workspace_id, params, created_at)"
        " SELECT 'w' || 1 + n %% %(w)s, '{}', now() - interval '1 day'"
        " FROM generate_series(1, %(jobs)s) n"
    )
    database.fetch(bulk, w=1, jobs=PLACES_COUNTED)
    last = insert("w1")
    assert ahead_of(views, database, last) == PLACES_COUNTED
    assert ahead_of(views, database, insert("w1")) is None
    database.clear()
    database.fetch(bulk, w=WORKSPACES_COMPARED - 1, jobs=WORKSPACES_COMPARED - 1)
    assert ahead_of(views, database, insert("other")) == WORKSPACES_COMPARED - 1
    assert ahead_of(views, database, insert("more")) is None


def test_the_start_is_estimated_from_the_last_run_times(
    store: ReleaseStore, views: JobViews, database: Database, insert: Insert
) -> None:
    """Unknown before any job ended; then run time by slots, for each job ahead and this one."""
    ended = insert()
    waiting = [insert() for _ in range(3)]
    assert place_of(views, database, waiting[2]) == Place(3, None)
    database.update_job(
        ended,
        "status = 'COMPLETED', progress = 100, result = '{}', attempt = 1,"
        " started_at = now() - interval '100 seconds', finished_at = now()",
    )
    assert place_of(views, database, waiting[2]) == Place(2, 3 * 100 / SLOTS)
    store.forget_worker("host:1")
    assert place_of(views, database, waiting[2]) == Place(2, None)


@pytest.mark.parametrize(
    "reason",
    [
        "INSERT INTO paused_providers (provider) VALUES ('mock')",
        "INSERT INTO workspace_limits (workspace_id, running_jobs) VALUES ('default', 1)",
    ],
)
def test_a_start_that_depends_on_more_than_slots_is_not_estimated(
    store: ReleaseStore, views: JobViews, database: Database, insert: Insert, reason: str
) -> None:
    """On the end of a pause, or of other jobs of its workspace."""
    database.update_job(
        insert(),
        "status = 'COMPLETED', progress = 100, result = '{}', attempt = 1,"
        " started_at = now() - interval '100 seconds', finished_at = now()",
    )
    insert()
    second = insert()
    assert place_of(views, database, second) == Place(1, 2 * 100 / SLOTS)
    database.fetch(reason)
    assert place_of(views, database, second) == Place(1, None)

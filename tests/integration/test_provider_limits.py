"""Limits and holds of providers, on PostgreSQL: jobs wait in their rows, in all runtimes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from shared.jobs.acceptance import Terms
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim
from shared.jobs.release_store import ReleaseRules, ReleaseStore
from shared.jobs.workspace_limits import LimitStore
from shared.status import failed
from tests.support.builders import UNPAID, new_job
from tests.support.database import Database, Insert
from tests.support.releases import SLOTS, finish, released, store_of_one_worker
from tests.support.wait import wait_until


@pytest.fixture
def store(engine: Engine, database: Database) -> ReleaseStore:
    """Give the store, with one worker of two slots."""
    return store_of_one_worker(engine)


def limited(engine: Engine, runtime: str = "celery", **limits: Mapping[str, int]) -> ReleaseStore:
    """Return a store with limits of providers, and with a worker of four slots."""
    store = ReleaseStore(engine, ReleaseRules(runtime, "mock", None, ["far"], limits))
    store.note_worker(runtime, 2 * SLOTS, "0", 600)
    return store


def test_a_provider_has_so_many_jobs_under_way(
    store: ReleaseStore, insert: Insert, database: Database, engine: Engine
) -> None:
    """In both runtimes together; those of another provider pass, and the order stays."""
    near = [insert() for _ in range(6)]
    far = [insert(provider="far") for _ in range(6)]
    celery = limited(engine, mock={"calls": 2})
    other = limited(engine, "lambda", mock={"calls": 2})
    assert released(celery) == [*near[:2], *far]
    assert (released(other), released(celery)) == ([], [])
    finish(database, near[:1])
    assert released(other) == near[2:3]
    assert released(celery) == []


def test_a_provider_has_so_many_attempts_a_minute(
    insert: Insert, database: Database, engine: Engine
) -> None:
    """Those that have ended count, too, until their minute is over, and so do envelopes."""
    jobs = [insert(provider="far", model="m") for _ in range(4)]
    celery = limited(engine, far={"a_minute": 2})
    assert released(celery) == jobs[:2]
    assert released(celery) == []
    attempts = AttemptStore(
        engine,
        runtime="celery",
        owner="host:1",
        lease_seconds=30,
        time_limit_seconds=100,
        models={"m": "far"},
    )
    for job_id in jobs[:2]:
        claim = attempts.claim(job_id)
        assert isinstance(claim, Claim)
        attempts.fail(claim, failed(10, "x"), {"code": "x"}, UNPAID)
        assert released(celery) == []
    seconds = celery.find_next_due_seconds()
    assert seconds is not None
    assert 50 < seconds <= 60
    database.fetch("UPDATE generation_attempts SET started_at = started_at - interval '1 minute'")
    assert released(celery) == jobs[2:]


def test_no_two_processes_fill_a_limit_at_once(insert: Insert, engine: Engine) -> None:
    """Of one runtime or of two."""
    for _ in range(20):
        insert()
    stores = [limited(engine, name, mock={"calls": 3}) for name in ("celery", "lambda") * 3]
    with ThreadPoolExecutor(6) as pool:
        found = [job for jobs in pool.map(released, stores) for job in jobs]
    assert len(found) == len(set(found)) == 3


def test_a_submission_to_a_limited_provider_passes_the_release(
    jobs: JobStore, engine: Engine
) -> None:
    """Which alone counts; the others are released at once."""
    celery = limited(engine, far={"calls": 1})
    terms = Terms(release=celery.rules)
    assert jobs.accept(new_job(provider="far", model="m"), terms).envelope is None
    assert len(released(celery)) == 1
    assert jobs.accept(new_job(provider="mock", model="m"), terms).envelope is not None


def test_a_held_provider_is_free_again_by_itself(
    store: ReleaseStore, insert: Insert, attempts: AttemptStore, limits: LimitStore, engine: Engine
) -> None:
    """An operator's pause lasts, and ends a hold when it ends."""
    job = insert()
    attempts.hold_provider("mock", 100)
    attempts.hold_provider("mock", 0.3)
    assert released(store) == []
    assert 99 < (store.find_next_due_seconds() or 0) <= 100
    assert list(limits.paused_providers()) == ["mock"]
    limits.pause_provider("mock")
    attempts.hold_provider("mock", 0.1)
    assert limits.resume_provider("mock")
    attempts.hold_provider("mock", 0.3)
    assert released(store) == []
    wait_until(lambda: released(store) == [job], 5, "the hold to end")
    assert not limits.resume_provider("mock")
    assert limits.paused_providers() == {}

"""What tests of releases share: one worker of two slots, and what becomes of its jobs."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Engine

from shared.jobs.release_store import ReleaseRules, ReleaseStore
from tests.support.database import Database

SLOTS = 2
RULES = ReleaseRules("celery", "mock")


def store_of_one_worker(engine: Engine) -> ReleaseStore:
    """Return the store, with one worker of two slots."""
    store = ReleaseStore(engine, RULES)
    store.note_worker("host:1", SLOTS, "0", 600)
    return store


def released(store: ReleaseStore) -> list[UUID]:
    """Release what there is room for and return it, in order."""
    return [job.job_id for job in store.release()]


def finish(database: Database, job_ids: Sequence[UUID]) -> None:
    """Let jobs have ended, which frees their slots."""
    for job_id in job_ids:
        database.update_job(
            job_id, "status = 'COMPLETED', progress = 100, result = '{}', finished_at = now()"
        )

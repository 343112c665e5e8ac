"""What is of no use any more is deleted; one failure keeps nothing else for long."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from shared.access.audit import AuditStore
from shared.adapters.disk_images import DiskImageStore
from shared.errors import StorageUnavailable
from shared.generation.asset_keeper import AssetKeeper
from shared.generation.delete import FOREIGN_JOBS, Deleter
from shared.generation.old_images import OldImages
from shared.imaging.provider import GeneratedImage
from shared.imaging.store import asset_key
from shared.jobs.asset_store import AssetPage, AssetStore, NewAsset
from shared.jobs.job_store import JobStore
from shared.webhooks.store import WebhookStore
from tests.support.builders import new_job
from tests.support.database import Database

IMAGE = GeneratedImage(0, b"\x89PNG", "image/png", 1, 1, 1, "mock", "mock-1")


class PickyStore(DiskImageStore):
    """A store that cannot delete the images of some jobs."""

    kept: frozenset[UUID] = frozenset()
    tried: tuple[UUID, ...] = ()

    def delete(self, job_id: UUID) -> None:
        """Delete them, or refuse."""
        self.tried += (job_id,)
        if job_id in self.kept:
            raise StorageUnavailable("Permission denied")
        super().delete(job_id)


@pytest.fixture
def store(tmp_path: Path) -> PickyStore:
    """Give an empty store."""
    return PickyStore(tmp_path)


@pytest.fixture
def outdated(jobs: JobStore, database: Database) -> Callable[[int], UUID]:
    """Give what makes a job that ended so many days ago."""

    def make(days: int) -> UUID:
        job = jobs.request_cancel(jobs.insert(new_job()).id)
        jobs.mark_announced(job.id)
        database.update_job(job.id, "finished_at = now() - make_interval(days => %(d)s)", d=days)
        return job.id

    return make


def test_outdated_jobs_are_deleted_the_oldest_first(
    jobs: JobStore, store: PickyStore, outdated: Callable[[int], UUID]
) -> None:
    """All of them in one run; those that are kept for longer stay."""
    new, old, oldest = (outdated(days) for days in (2, 40, 50))
    assert Deleter(jobs, store, 30).tidy() == {
        **{"jobs": 2, "images": 0, "assets": 0, "orphans": 0, "keys": 0},
    }
    assert store.tried == (oldest, old)
    assert jobs.get(new).announced_at is not None
    assert Deleter(jobs, store).tidy()["jobs"] == 0


def test_the_next_run_goes_on_behind_a_job_that_cannot_be_deleted(
    jobs: JobStore, store: PickyStore, outdated: Callable[[int], UUID]
) -> None:
    """A run ends at the first failure, which may be an outage; it is tried again at the end."""
    bad, good = outdated(50), outdated(40)
    store.kept = frozenset({bad})
    deleter = Deleter(jobs, store, 30)
    assert [deleter.tidy()["jobs"] for _ in range(3)] == [0, 1, 0]
    assert store.tried == (bad, good, bad)
    store.kept = frozenset()
    assert [deleter.tidy()["jobs"] for _ in range(2)] == [0, 1]


def test_expired_idempotency_keys_are_forgotten(
    jobs: JobStore, store: PickyStore, database: Database
) -> None:
    """After their day, however many there are."""
    for number in range(250):
        database.fetch(
            "INSERT INTO idempotency_keys (workspace_id, key, request_sha256, job_id, created_at)"
            " VALUES ('default', %(key)s, '', %(id)s, now() - make_interval(hours => %(h)s))",
            key=str(number),
            id=str(uuid4()),
            h=25 if number else 23,
        )
    assert Deleter(jobs, store).tidy()["keys"] == 249
    left = database.fetch("SELECT key FROM idempotency_keys")
    assert [row["key"] for row in left] == ["0"]


def test_old_uploads_that_no_job_names_are_deleted(
    jobs: JobStore, store: PickyStore, database: Database, engine: Engine
) -> None:
    """The others stay: of a job, of the shop's own rows, or younger."""
    assets = AssetStore(engine)

    def upload(days: int) -> UUID:
        asset_id = uuid4()
        key = asset_key(asset_id)
        store.put(key, b"picture", "image/png")
        assets.insert(NewAsset(asset_id, "default", None, key, "image/png", 7, 1, 1, "0" * 64))
        database.fetch(
            "UPDATE assets SET created_at = now() - make_interval(days => %(d)s) WHERE id = %(id)s",
            d=days,
            id=str(asset_id),
        )
        return asset_id

    young, old, oldest, used, own, second, mask = map(upload, (2, 40, 50, 60, 70, 80, 90))
    jobs.insert(replace(new_job(), reference_asset_ids=[second, second], mask_asset_id=mask))
    job = jobs.insert(new_job())
    database.update_job(job.id, "source_asset_id = %(asset)s", asset=str(used))
    database.fetch("UPDATE assets SET sha256 = NULL WHERE id = %(id)s", id=str(own))
    keeper = AssetKeeper(assets, store)
    deleter = Deleter(jobs, store, delete_assets=lambda: keeper.delete_outdated(30))
    assert deleter.tidy()["assets"] == 2
    left = {asset.id for asset in assets.list("default", AssetPage(10))}
    assert left == {young, used, own, second, mask}
    for asset_id in (old, oldest):
        with pytest.raises(StorageUnavailable):
            store.load(asset_key(asset_id))


def test_images_of_no_job_are_deleted(jobs: JobStore, store: PickyStore) -> None:
    """Those of a job stay, whatever its state."""
    job = jobs.insert(new_job())
    orphan_id = uuid4()
    for job_id in (job.id, orphan_id):
        store.save(job_id, 1, IMAGE)
    assert Deleter(jobs, store).tidy()["orphans"] == 1
    assert list(store.list_jobs()) == [job.id]


def test_images_of_another_database_are_left_alone(jobs: JobStore, store: PickyStore) -> None:
    """Many jobs and none with a row: the wrong database was named, or it is to be restored."""
    ids = [uuid4() for _ in range(FOREIGN_JOBS)]
    for job_id in ids:
        store.save(job_id, 1, IMAGE)
    assert Deleter(jobs, store).tidy()["orphans"] == 0
    assert sorted(store.list_jobs()) == sorted(ids)
    store.save(jobs.insert(new_job()).id, 1, IMAGE)
    assert Deleter(jobs, store).tidy()["orphans"] == FOREIGN_JOBS


def test_deliveries_of_webhooks_are_forgotten(
    jobs: JobStore, store: PickyStore, database: Database, engine: Engine
) -> None:
    """Delivered or not, once they are too old."""
    job = jobs.insert(new_job())
    database.fetch(
        "INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job, created_at)"
        " SELECT gen_random_uuid(), %(id)s, 'x', 'generation.failed', '{}',"
        " now() - make_interval(days => day) FROM generate_series(1, 9) day",
        id=str(job.id),
    )
    webhooks = WebhookStore(engine, allows_private=False)
    forget = {"deliveries": partial(webhooks.forget_deliveries, 6.5)}
    assert Deleter(jobs, store, None, forget).tidy()["deliveries"] == 3
    assert len(database.fetch("SELECT 1 FROM webhook_deliveries")) == 6


def test_old_rows_of_the_audit_are_forgotten(
    jobs: JobStore, store: PickyStore, database: Database, engine: Engine
) -> None:
    """In bounded steps, however many there are; the younger ones stay."""
    database.fetch(
        "INSERT INTO audit (who, action, target, details, at) SELECT 'x', 'pause', 'x', '{}',"
        " now() - make_interval(days => CASE WHEN n <= 250 THEN 366 ELSE 364 END)"
        " FROM generate_series(1, 251) n"
    )
    audit = AuditStore(engine)
    steps: list[int] = []

    def forget(limit: int) -> int:
        steps.append(audit.forget(365, limit))
        return steps[-1]

    assert Deleter(jobs, store, None, {"audit": forget}).tidy()["audit"] == 250
    assert steps == [100, 100, 50, 0]
    assert len(audit.list(10)) == 1


def keep_image(store: PickyStore, database: Database, job_id: UUID, days: int) -> None:
    """Keep an image of a job, made so many days ago."""
    saved = store.save(job_id, 1, IMAGE)
    database.fetch(
        "INSERT INTO images (id, job_id, position, url, storage_key, media_type, width_px,"
        " height_px, size_bytes, sha256, seed, provider, model, created_at) VALUES"
        " (gen_random_uuid(), %(id)s, 0, 'x', %(key)s, 'image/png', 1, 1, 1, repeat('0', 64), 1,"
        " 'mock', 'mock-1', now() - make_interval(days => %(days)s))",
        id=str(job_id),
        key=saved.storage_key,
        days=days,
    )


def test_images_may_be_deleted_before_their_jobs(
    jobs: JobStore, store: PickyStore, database: Database, outdated: Callable[[int], UUID]
) -> None:
    """With their bytes, the oldest first; the jobs stay, and so do the images of those that run."""
    tidy = Deleter(jobs, store, delete_images=OldImages(jobs, store, 30).delete).tidy
    new, bad, old = outdated(2), outdated(50), outdated(40)
    runs, _ = database.insert_job()
    for job_id, days in ((new, 2), (bad, 50), (old, 40), (runs, 60)):
        keep_image(store, database, job_id, days)
    store.kept = frozenset({bad})
    assert [tidy()["images"] for _ in range(3)] == [0, 1, 0]
    store.kept = frozenset()
    assert [tidy()["images"] for _ in range(2)] == [0, 1]
    left = {UUID(row["job_id"]) for row in database.fetch("SELECT job_id FROM images")}
    assert left == {new, runs} == set(store.list_jobs())
    assert len(database.fetch("SELECT 1 FROM generation_jobs")) == 4

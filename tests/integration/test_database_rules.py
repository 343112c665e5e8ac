"""The rules that the database itself holds: each broken once by plain SQL."""

from uuid import UUID, uuid4

import psycopg2
import psycopg2.errors
import pytest
from sqlalchemy import Engine, select

from shared.database.session import get_db_context
from shared.jobs.tables import (
    Asset,
    GenerationAttempt,
    GenerationJob,
    Image,
    Product,
    User,
    Workspace,
)
from shared.status import JobStatus
from tests.support.builders import image_row
from tests.support.database import Database

FAILED = "status = 'FAILED', error = '{}', finished_at = now()"
RUNNING = "status = 'PROCESSING', attempt = 1"

BROKEN_JOBS = [
    ("progress = -1", "ck_generation_jobs_progress"),
    ("progress = 101", "ck_generation_jobs_progress"),
    ("max_attempts = 0", "ck_generation_jobs_attempt"),
    ("attempt = -1", "ck_generation_jobs_attempt"),
    (f"{FAILED}, attempt = 4", "ck_generation_jobs_attempt"),
    ("attempt = 3", "ck_generation_jobs_pending"),
    ("status = 'PROCESSING'", "ck_generation_jobs_lease"),
    (f"{RUNNING}, lease_owner = 'x', time_limit_at = now()", "ck_generation_jobs_lease"),
    (f"{RUNNING}, lease_until = now(), time_limit_at = now()", "ck_generation_jobs_lease"),
    (f"{RUNNING}, lease_until = now(), lease_owner = 'x'", "ck_generation_jobs_lease"),
    ("lease_until = now(), lease_owner = 'x', time_limit_at = now()", "ck_generation_jobs_lease"),
    ("finished_at = now()", "ck_generation_jobs_finished"),
    ("status = 'FAILED', error = '{}'", "ck_generation_jobs_finished"),
    ("status = 'COMPLETED', progress = 100, result = '{}'", "ck_generation_jobs_finished"),
    (
        "status = 'COMPLETED', progress = 99, result = '{}', finished_at = now()",
        "ck_generation_jobs_completed",
    ),
    (
        "status = 'COMPLETED', progress = 100, finished_at = now()",
        "ck_generation_jobs_completed",
    ),
    ("status = 'FAILED', finished_at = now()", "ck_generation_jobs_failed"),
    ("announced_at = now()", "ck_generation_jobs_announced"),
    ("task_id = 'taken'", "uq_generation_jobs_task_id"),
    ("workspace_id = 'nowhere'", "fk_generation_jobs_workspace_id"),
    ("user_id = 'unknown'", "fk_generation_jobs_workspace_id_user_id"),
    ("product_id = 'nothing'", "fk_generation_jobs_workspace_id_product_id"),
]

BROKEN_ATTEMPTS = [
    ({"number": 0}, "ck_generation_attempts_number"),
    ({"runtime": "cron"}, "ck_generation_attempts_runtime"),
    ({"outcome": "lucky", "finished_at": "now"}, "ck_generation_attempts_outcome"),
    ({"outcome": "failed"}, "ck_generation_attempts_finished"),
    ({"finished_at": "now"}, "ck_generation_attempts_finished"),
    ({"charge_state": "free"}, "ck_generation_attempts_charge_state"),
    ({"number": 1}, "pk_generation_attempts"),
    ({"token": 1, "outcome": "lost", "finished_at": "now"}, "uq_generation_attempts_job_id_token"),
    ({}, "uq_generation_attempts_open"),
    ({"job_id": str(UUID(int=9))}, "fk_generation_attempts_job_id"),
]

BROKEN_IMAGES = [
    ({"position": -1}, "ck_images_position"),
    ({"width_px": 0}, "ck_images_size"),
    ({"height_px": 0}, "ck_images_size"),
    ({"size_bytes": 0}, "ck_images_size"),
    ({"sha256": "A" * 64}, "ck_images_sha256"),
    ({"sha256": "0" * 63}, "ck_images_sha256"),
    ({"position": 0}, "uq_images_job_id_position"),
    ({"job_id": str(UUID(int=9))}, "fk_images_job_id"),
]


def insert(database: Database, table: str, **values: object) -> None:
    """Insert one row."""
    places = ", ".join(f"%({name})s" for name in values)
    database.fetch(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", **values)


@pytest.mark.parametrize(("assignments", "constraint"), BROKEN_JOBS)
def test_a_job_that_breaks_a_rule_is_refused(
    database: Database, assignments: str, constraint: str
) -> None:
    """Whichever program writes the row, and however wrong it is."""
    database.insert_job(task_id="taken")
    job_id, _ = database.insert_job()
    with pytest.raises(psycopg2.IntegrityError, match=f'"{constraint}"'):
        database.update_job(job_id, assignments)


def test_a_status_has_four_values_and_no_fifth(database: Database) -> None:
    """The column holds the names of the enumeration."""
    job_id, _ = database.insert_job()
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
        database.update_job(job_id, "status = 'CANCELLED'")


@pytest.mark.parametrize(("values", "constraint"), BROKEN_ATTEMPTS)
def test_an_attempt_that_breaks_a_rule_is_refused(
    database: Database, values: dict[str, object], constraint: str
) -> None:
    """A ledger with holes or doubles proves nothing."""
    job_id, _ = database.insert_job()
    row = {"job_id": str(job_id), "number": 1, "token": 1, "runtime": "celery"}
    insert(database, "generation_attempts", **row)
    with pytest.raises(psycopg2.IntegrityError, match=f'"{constraint}"'):
        insert(database, "generation_attempts", **{**row, "number": 2, "token": 2, **values})


@pytest.mark.parametrize(("values", "constraint"), BROKEN_IMAGES)
def test_an_image_that_breaks_a_rule_is_refused(
    database: Database, values: dict[str, object], constraint: str
) -> None:
    """One row a position, and only of what can be shown."""
    job_id, _ = database.insert_job()
    insert(database, "images", **{**image_row(0, uuid4()), "job_id": str(job_id)})
    row = {**image_row(1, uuid4()), "job_id": str(job_id), **values}
    with pytest.raises(psycopg2.IntegrityError, match=f'"{constraint}"'):
        insert(database, "images", **row)


def test_users_and_products_of_other_workspaces_own_nothing(database: Database) -> None:
    """The pair of workspace and owner must exist."""
    database.fetch(
        "INSERT INTO workspaces (id, name) VALUES ('other', 'Other');"
        "INSERT INTO users (id, workspace_id) VALUES ('u', 'other');"
        "INSERT INTO products (id, workspace_id, name) VALUES ('p', 'other', 'mug')"
    )
    for owner in ({"user_id": "u"}, {"product_id": "p"}):
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            database.insert_job(**owner)
        database.insert_job(workspace_id="other", **owner)


def test_a_bare_row_needs_a_workspace_and_params_alone(database: Database) -> None:
    """A foreign producer leaves the rest to the database."""
    database.fetch("INSERT INTO generation_jobs (workspace_id, params) VALUES ('default', '{}')")
    (row,) = database.fetch("SELECT * FROM generation_jobs")
    assert (row["status"], row["progress"], row["message"]) == ("PENDING", 0, "Queued")
    assert (row["attempt"], row["max_attempts"]) == (0, 3)
    assert str(UUID(row["task_id"])) == row["task_id"]


def test_attempts_and_images_go_with_their_job(database: Database) -> None:
    """Deleting a job leaves nothing behind."""
    job_id, _ = database.insert_job()
    ledger = {"job_id": str(job_id), "number": 1, "token": 1, "runtime": "lambda"}
    insert(database, "generation_attempts", **ledger)
    insert(database, "images", **{**image_row(0, uuid4()), "job_id": str(job_id)})
    database.fetch("DELETE FROM generation_jobs")
    assert database.attempts(job_id) == []
    assert database.images(job_id) == []


def test_the_mapped_classes_know_each_other_both_ways(engine: Engine, database: Database) -> None:
    """Workspace, user, product, asset, job, attempt and image, from either side."""
    with get_db_context(engine) as session:
        workspace = Workspace(id="north", name="North")
        user = User(id="u", workspace=workspace)
        product = Product(id="p", workspace=workspace, name="mug")
        session.add(workspace)
        session.flush()
        product.assets.append(Asset(storage_key="k", media_type="image/png", size_bytes=1))
        job = GenerationJob(workspace=workspace, user=user, product=product, params={"prompt": "x"})
        job.attempts.append(GenerationAttempt(number=1, token=1, runtime="celery"))
        values = image_row(0, uuid4())
        job.images.append(Image(**{**values, "id": UUID(values["id"])}))
        session.add(job)
    with get_db_context(engine) as session:
        found = session.scalars(select(Workspace).where(Workspace.id == "north")).one()
        (read,) = found.jobs
        assert read.status is JobStatus.PENDING
        assert (read.workspace, read.user, read.product) == (found, *found.users, *found.products)
        assert found.users[0].jobs == [read]
        assert found.products[0].jobs == [read]
        assert found.products[0].assets[0].product is found.products[0]
        assert read.attempts[0].job is read
        assert read.images[0].job is read

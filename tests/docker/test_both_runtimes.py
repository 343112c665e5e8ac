"""Both at once on one database: what one runtime accepts, the other runs, and nobody can tell."""

import json
from pathlib import Path

import pytest

from tests.contract.test_a_job import PLAIN_BYTES
from tests.support.compose import Compose
from tests.support.sam_ground import invoke

pytestmark = pytest.mark.timeout(600)


def test_job_of_composes_api_is_run_by_the_function(
    compose: Compose, bundles: Path, tmp_path: Path
) -> None:
    """Messages, rows and events as ever; the worker then finds nothing left to do."""
    compose.run("stop", "worker", "beat")
    job = compose.submit("a red mug")
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"job_id": job["id"]}))
    with compose.subscription(f"task_updates:{job['task_id']}") as messages:
        told = invoke(
            bundles,
            compose.network,
            "WorkerFunction",
            event,
            DATABASE_URL=compose.database_url,
            REDIS_URL=compose.redis_url,
        )
        assert told.answer["job_id"] == job["id"], told.output
        assert messages(len(PLAIN_BYTES) - 1) == PLAIN_BYTES[1:]
    followed = [event.data for event in compose.follow(job)]
    assert followed == PLAIN_BYTES
    row = compose.row(job)
    assert (row["status"], row["progress"], row["attempt"]) == ("COMPLETED", 100, 1)
    assert row["lease_until"] is row["lease_owner"] is row["error"] is None
    assert row["announced_at"] is not None
    lines = compose.rows(f"SELECT * FROM generation_attempts WHERE job_id = '{job['id']}'")
    assert [(line["runtime"], line["outcome"]) for line in lines] == [("lambda", "completed")]
    compose.up()
    other = compose.finish(compose.submit("a blue mug"))
    assert other["status"] == "completed"
    assert compose.row(job) == row
    (line,) = compose.rows(f"SELECT * FROM generation_attempts WHERE job_id = '{other['id']}'")
    assert line["runtime"] == "celery"
    plain = compose.finish(compose.submit("a red mug"))
    assert [image["sha256"] for image in compose.images(plain)] == [
        image["sha256"] for image in compose.images(job)
    ]

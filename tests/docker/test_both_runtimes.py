"""Both runtimes at once on one database: each runs what the other accepts."""

import json
from pathlib import Path

from tests.contract.test_a_job import PLAIN_BYTES
from tests.support.compose import Compose
from tests.support.sam_ground import EVENTS, invoke


def test_job_of_composes_api_is_run_by_the_function(
    compose: Compose, bundles: Path, tmp_path: Path
) -> None:
    """Messages, rows and events as ever; the worker then finds nothing left to do."""
    with compose.stopped("worker", "beat"):
        job = compose.submit("a red mug")
        event = tmp_path / "event.json"
        event.write_text(json.dumps({"job_id": job["id"]}))
        with compose.subscription(f"task_updates:{job['task_id']}") as messages:
            invoked = invoke(compose, bundles, "WorkerFunction", event)
            assert invoked.answer, invoked.output
            assert invoked.answer["job_id"] == job["id"], invoked.output
            assert messages(len(PLAIN_BYTES) - 1) == PLAIN_BYTES[1:]
        followed = [event.data for event in compose.follow(job)]
        assert followed == PLAIN_BYTES
        row = compose.row(job)
        assert (row["status"], row["progress"], row["attempt"]) == ("COMPLETED", 100, 1)
        assert row["lease_until"] is row["lease_owner"] is row["error"] is None
        assert row["announced_at"] is not None
        lines = compose.rows(f"SELECT * FROM generation_attempts WHERE job_id = '{job['id']}'")
        assert [(line["runtime"], line["outcome"]) for line in lines] == [("lambda", "completed")]
    other = compose.finish(compose.submit("a blue mug"))
    assert other["status"] == "completed"
    assert compose.row(job) == row
    (line,) = compose.rows(f"SELECT * FROM generation_attempts WHERE job_id = '{other['id']}'")
    assert line["runtime"] == "celery"
    plain = compose.finish(compose.submit("a red mug"))
    assert [image["sha256"] for image in compose.images(plain)] == [
        image["sha256"] for image in compose.images(job)
    ]


def test_key_that_the_function_makes_opens_composes_api(compose: Compose, bundles: Path) -> None:
    """On a database that compose has migrated; the command line knows it as well."""
    invoked = invoke(compose, bundles, "MigrateFunction", EVENTS / "migrate-create-key.json")
    assert invoked.answer, invoked.output
    key = invoked.answer["key"]
    statuses = [
        compose.client.get("/v1/generations", headers={"Authorization": f"Bearer {text}"})
        for text in (key, f"{key}x")
    ]
    assert [answer.status_code for answer in statuses] == [200, 401]
    listed = json.loads(compose.exec("api", "darkroom", "keys", "list", "--json"))
    assert invoked.answer["id"] in [found["id"] for found in listed["items"]]

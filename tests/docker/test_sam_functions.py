"""The functions in Lambda's own container, against Redis and PostgreSQL of compose."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from redis import Redis

from devkit.stack.server import free_port
from shared.jobs.migration import newest_revision
from tests.contract.test_a_job import PLAIN_BYTES
from tests.support.channel import ChannelReader
from tests.support.compose import run
from tests.support.database import Database
from tests.support.sam_ground import (
    EVENTS,
    PROJECT,
    SAM,
    Ground,
    of_bundles,
    running_ground,
    sam_environment,
)
from tests.support.wait import wait_until

JOB_ID = UUID(json.loads((EVENTS / "worker-direct.json").read_text())["job_id"])

LISTENER = """
import http.server, sys
class Listener(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("", 8080), Listener).serve_forever()
"""


@pytest.fixture(scope="module")
def ground(bundles: Path, layers: None) -> Iterator[Ground]:
    """Give servers and a database that the function has migrated."""
    with running_ground(bundles) as ground:
        invoked = ground.invoke("MigrateFunction", EVENTS / "migrate-direct.json")
        assert invoked.answer == {"revision": newest_revision()}, invoked.output
        yield ground


@pytest.fixture
def database(ground: Ground) -> Iterator[Database]:
    """Give the database, without jobs."""
    with closing(Database(ground.compose.outer_addresses["DATABASE_URL"])) as database:
        database.clear()
        yield database


@pytest.fixture
def redis(ground: Ground) -> Iterator[Any]:
    """Give an empty Redis."""
    url = ground.compose.outer_addresses["REDIS_URL"]
    with closing(Redis.from_url(url, decode_responses=True)) as client:
        client.flushall()
        yield client


def event_of(folder: Path, job_id: object) -> Path:
    """Write the event of a direct invocation."""
    path = folder / "event.json"
    path.write_text(json.dumps({"job_id": str(job_id)}))
    return path


def assert_is_completed(database: Database, job_id: UUID) -> None:
    """Check that the rows of a job are those that the contract asks for."""
    job = database.job(job_id)
    assert (job["status"], job["progress"], job["attempt"]) == ("COMPLETED", 100, 1)
    assert job["announced_at"] is not None
    assert job["lease_until"] is job["lease_owner"] is job["error"] is None
    [attempt] = database.attempts(job_id)
    assert (attempt["runtime"], attempt["outcome"]) == ("lambda", "completed")
    [image] = database.images(job_id)
    assert (image["width_px"], image["height_px"], image["position"]) == (256, 256, 0)
    assert job["result"]["images"] == [image["url"]] or job["result"]["missing"] == 0


def test_a_job_from_the_queue_runs_as_the_contract_asks(
    ground: Ground, database: Database, redis: Any
) -> None:
    """The same messages and rows; a second delivery finds nothing to do and changes nothing."""
    _, task_id = database.insert_job(id=str(JOB_ID))
    with ChannelReader(redis, f"task_updates:{task_id}") as channel:
        invoked = ground.invoke("WorkerFunction", EVENTS / "worker-sqs.json")
        assert invoked.answer == {"batchItemFailures": []}, invoked.output
        assert channel.read(len(PLAIN_BYTES)) == PLAIN_BYTES
    assert_is_completed(database, JOB_ID)
    assert {line["runtime"] for line in invoked.lines} == {"lambda"}
    before = database.job(JOB_ID)
    again = ground.invoke("WorkerFunction", EVENTS / "worker-direct.json")
    assert again.answer["job_id"] == str(JOB_ID), again.output
    assert database.job(JOB_ID) == before


def test_a_function_without_its_servers_says_so(ground: Ground, database: Database) -> None:
    """SAM exits 0 all the same; the message goes back to the queue."""
    database.insert_job(id=str(JOB_ID))
    invoked = ground.invoke(
        "WorkerFunction",
        EVENTS / "worker-sqs.json",
        DATABASE_URL="postgresql://darkroom@nowhere/darkroom",
    )
    [record] = json.loads((EVENTS / "worker-sqs.json").read_text())["Records"]
    assert invoked.answer == {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
    assert database.job(JOB_ID)["status"] == "PENDING"


def test_the_sweep_answers_with_what_it_did(ground: Ground, database: Database) -> None:
    """On its schedule's event."""
    database.insert_job(id=str(JOB_ID))
    invoked = ground.invoke("ReaperFunction", EVENTS / "reaper-schedule.json")
    assert invoked.answer, invoked.output
    assert all(isinstance(count, int) for count in invoked.answer.values())


def test_cloudformation_receives_the_result_of_the_migration(ground: Ground) -> None:
    """A success with the revision; a failure, so that the deployment fails and does not wait."""
    listener = ground.run("cloudformation", "python:3.13-slim", "python", "-c", LISTENER)
    event = EVENTS / "migrate-create.json"
    ground.invoke("MigrateFunction", event)
    unreachable = "postgresql://darkroom@nowhere/darkroom"
    invoked = ground.invoke("MigrateFunction", event, DATABASE_URL=unreachable)
    assert "ServiceUnavailable" in invoked.output
    lines = run(["docker", "logs", listener]).splitlines()
    answers = [json.loads(line) for line in lines if line[0] == "{"]
    assert [answer["Status"] for answer in answers] == ["SUCCESS", "FAILED"]
    assert answers[0]["Data"] == {"Revision": newest_revision()}
    assert answers[1]["Reason"].startswith("PostgreSQL: ")
    request = json.loads(event.read_text())
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        assert [answer[name] for answer in answers] == [request[name]] * 2


def test_a_job_that_the_api_accepts_is_run_by_the_worker(
    ground: Ground, database: Database, redis: Any, tmp_path: Path
) -> None:
    """Health and submission by HTTP events, in the API's own bundle."""
    invoked = ground.invoke("ApiFunction", EVENTS / "api-get.json")
    assert invoked.answer, invoked.output
    assert invoked.answer["statusCode"] == 200, invoked.output
    invoked = ground.invoke("ApiFunction", EVENTS / "api-post.json")
    assert invoked.answer, invoked.output
    assert invoked.answer["statusCode"] == 202, invoked.output
    job = json.loads(invoked.answer["body"])
    with ChannelReader(redis, f"task_updates:{job['task_id']}") as channel:
        ground.invoke("WorkerFunction", event_of(tmp_path, job["id"]))
        assert channel.read(len(PLAIN_BYTES) - 1) == PLAIN_BYTES[1:]
    assert_is_completed(database, UUID(job["id"]))


@contextmanager
def served(ground: Ground, log_path: Path) -> Iterator[httpx.Client]:
    """Serve the API as `sam local start-api` does, until the end of the block."""
    port = free_port()
    command = [
        *(str(SAM), "local", "start-api", "--port", str(port), "--warm-containers", "LAZY"),
        *("--docker-network", ground.compose.network, "--skip-pull-image"),
        *of_bundles(ground.template),
    ]
    environment = sam_environment(**ground.compose.addresses)
    with (
        log_path.open("w") as log,
        subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            wait_until(lambda: "Running on" in log_path.read_text(), 60, "start-api to listen")
            yield client
        finally:
            process.terminate()
            process.wait(60)


def steps_in(answer: httpx.Response) -> list[str]:
    """Return the data of the events of an answer."""
    lines = answer.text.splitlines()
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def test_start_api_serves_the_page_and_the_events_of_a_job(
    ground: Ground, database: Database, redis: Any, tmp_path: Path
) -> None:
    """A stream comes in windows: a client that reconnects with its last id misses nothing."""
    with served(ground, tmp_path / "start-api.log") as client:
        page = client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "<title>" in page.text
        job = client.post(
            "/v1/generations", json={"prompt": "a mug", "size": "256x256", "seed": 7}
        ).json()
        begun = client.get(job["urls"]["events"])
        assert steps_in(begun) == PLAIN_BYTES[:1]
        last_id = [line for line in begun.text.splitlines() if line.startswith("id: ")][-1]
        ground.invoke("WorkerFunction", event_of(tmp_path, job["id"]))
        rest = client.get(
            job["urls"]["events"], headers={"Last-Event-ID": last_id.removeprefix("id: ")}
        )
        assert rest.headers["content-type"].startswith("text/event-stream")
        assert steps_in(rest) == PLAIN_BYTES[1:]
        shown = client.get(f"/v1/generations/{job['id']}").json()
        assert shown["status"] == "completed"
    assert_is_completed(database, UUID(job["id"]))

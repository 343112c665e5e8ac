"""The local runtime in containers, on a real engine: jobs, faults, data that stay."""

import json
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from devkit.secret_folder import SECRETS_OF
from tests.support.compose import PATIENCE_SECONDS, Compose
from tests.support.wait import wait_until

PLAIN_JOB = [
    ("pending", 0),
    *(("processing", progress) for progress in (5, 10, 30, 50, 70, 90, 95)),
    ("completed", 100),
]
LONG = "a mug [[slow:6]]"
"""Runs for 6 s: long enough to break something meanwhile."""


def test_a_job_comes_from_http_to_rows_and_bytes(compose: Compose) -> None:
    """Submitted without a key from this machine, followed live, stored in the volume."""
    job = compose.submit("a red mug", n=2)
    received = compose.follow(job)
    assert [(event.step["status"], event.step["progress"]) for event in received] == PLAIN_JOB
    row = compose.row(job)
    assert (row["status"], row["attempt"], row["error"]) == ("COMPLETED", 1, None)
    images = compose.images(job)
    addresses = [image["url"] for image in compose.get(job)["images"]]
    assert len(images) == len(addresses) == 2
    for image, address in zip(images, addresses, strict=True):
        data = compose.client.get(address).content
        assert data.startswith(b"\x89PNG")
        assert sha256(data).hexdigest() == image["sha256"]
    (attempt,) = compose.rows(f"SELECT * FROM generation_attempts WHERE job_id = '{job['id']}'")
    assert (attempt["runtime"], attempt["outcome"]) == ("celery", "completed")


def test_everything_is_ready_and_the_page_is_there(compose: Compose) -> None:
    """What the README says of http://localhost:8000."""
    assert compose.client.get("/readyz").status_code == 200
    assert "<html" in compose.client.get("/").text


def test_the_doctor_finds_the_containers_sound(compose: Compose) -> None:
    """Settings, Celery's options, PostgreSQL and Redis, as a worker sees them."""
    # The lease of these tests is too short for a rule.
    doctor = ("env", "--unset=LEASE_SECONDS", "darkroom", "doctor", "--json")
    report = json.loads(compose.exec("worker", *doctor))
    unknown = {rule["name"] for rule in report["rules"] if rule["state"] != "holds"}
    # There is no SQS here.
    assert (report["verdict"], unknown) == ("ok", {"queue-visibility", "dead-letters"})


def test_only_the_host_is_served_without_keys(compose: Compose) -> None:
    """Neither another container nor a page that bears another name."""
    answer = compose.client.get("/v1/generations", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    ask = (
        "import http.client as c; a = c.HTTPConnection('api', 8000, timeout=5);"
        "a.request('GET', '/v1/generations', headers={'Host': 'localhost'});"
        "print(a.getresponse().status)"
    )
    assert compose.exec("worker", "python", "-c", ask) == "403"


def test_containers_hold_no_root_no_tools_and_no_secret(compose: Compose) -> None:
    """What an intruder would look for first."""
    assert compose.exec("worker", "id", "-u") == "10001"
    look = "for name in pip pip3 cc gcc ld make; do command -v $name; done; echo none"
    assert compose.exec("worker", "sh", "-c", look) == "none"
    find = ("find", "/usr", "/opt", "-name", "pip", "-o", "-name", "pip-*", "-o", "-name")
    assert compose.exec("worker", *find, "ensurepip") == ""
    secrets = [
        compose.exec("api", "cat", f"/run/secrets/{name}")
        for name in ("database_password", "signing_key")
    ]
    for service in ("api", "worker", "beat", "postgres"):
        found = compose.exec(service, "ls", "-A", "/run/secrets").split()
        assert found == sorted(SECRETS_OF[service])
        (container,) = compose.containers(service)
        described = compose.inspect(container)
        text = json.dumps(described)
        assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize("service", ["api", "worker", "beat", "redis", "postgres"])
def test_a_container_has_no_rights_and_limits(compose: Compose, service: str) -> None:
    """Its program is no root, has no capability, gains none, and writes to its volumes alone."""
    (container,) = compose.containers(service)
    limits = compose.inspect(container)["HostConfig"]
    assert limits["Memory"] > 0
    status = dict(
        line.split(":\t", 1)
        for line in compose.exec(service, "cat", "/proc/1/status").splitlines()
        if line.startswith(("Uid", "CapEff", "NoNewPrivs"))
    )
    assert set(status["Uid"].split()) != {"0"}
    assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1")
    for path in ("/etc", "/usr", "/opt", "/run"):
        assert "Read-only" in compose.exec(service, "sh", "-c", f"touch {path}/x 2>&1 || true")


def test_a_secret_that_is_given_later_is_there_at_the_next_up(
    compose: Compose, tmp_path: Path
) -> None:
    """First with the mock provider, then with a key: the worker refuses to start without one."""
    key = tmp_path / "openai.key"
    key.write_text("sk-given-later\n")
    ca = tmp_path / "ca.pem"
    ca.write_text("a certificate\n")
    with_key = compose.changed(AI_MOCK_MODE="false", OPENAI_API_KEY_FILE=str(key), CA_FILE=str(ca))
    try:
        with_key.up()
        given = with_key.exec("worker", "cat", "/run/secrets/openai_api_key")
        assert given == "sk-given-later"
        for service in ("api", "worker", "beat"):
            assert with_key.exec(service, "cat", "/run/secrets/ca.pem") == "a certificate"
    finally:
        compose.up()
    assert compose.exec("worker", "cat", "/run/secrets/openai_api_key") == ""


def test_job_of_a_killed_worker_is_finished_after_its_restart(compose: Compose) -> None:
    """SIGKILL for its main process: the engine starts the container again, the sweep the job."""
    (container,) = compose.containers("worker")
    restarts = compose.inspect(container)["RestartCount"]
    job = compose.submit(LONG)
    compose.wait_for_progress(job)
    compose.kill_main_process(container)
    ended = compose.finish(job)
    assert (ended["status"], compose.row(job)["attempt"]) == ("completed", 2)
    assert compose.inspect(container)["RestartCount"] == restarts + 1
    received = compose.follow(job)
    assert received[-1].step["status"] == "completed"
    assert len({event.id for event in received}) == len(received)
    compose.wait_until_healthy("worker")


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_a_job_outlives_the_restart_of_a_server(compose: Compose, server: str) -> None:
    """And the next one runs as if nothing had been."""
    job = compose.submit(LONG)
    compose.wait_for_progress(job)
    compose.run("restart", server)
    ended = compose.finish(job)
    assert ended["status"] == "completed"
    compose.wait_until_healthy(server, "worker", "api")
    received = compose.follow(compose.submit("a blue mug"))
    assert [(event.step["status"], event.step["progress"]) for event in received] == PLAIN_JOB


def test_a_stopped_worker_hands_its_job_back_in_time(compose: Compose) -> None:
    """It ends by itself, before the engine would kill it; no job waits for a lease to run out."""
    (container,) = compose.containers("worker")
    job = compose.submit("a mug [[slow:15]]")
    compose.wait_for_progress(job)
    with compose.stopped("worker"):
        state = compose.inspect(container)["State"]
        assert (state["Running"], state["OOMKilled"]) == (False, False)
        # Of the warm shutdown, which SIGTERM began: the SIGQUIT after the grace ends its waiting.
        assert state["ExitCode"] == 0
        sql = f"SELECT lease_until < now() AS is_free FROM generation_jobs WHERE id = '{job['id']}'"
        assert compose.rows(sql) == [{"is_free": True}]
        compose.client.post(f"/v1/generations/{job['id']}/cancel")
    assert compose.finish(job)["error"]["code"] == "cancelled"


def test_three_workers_share_the_jobs(compose: Compose) -> None:
    """`up --scale worker=3`: each has jobs, under a name of its own."""

    def hosts() -> bool:
        rows = compose.rows("SELECT lease_owner FROM generation_jobs WHERE status = 'PROCESSING'")
        return len({row["lease_owner"].partition(":")[0] for row in rows}) == 3

    try:
        compose.up("--scale", "worker=3", "--no-recreate")
        jobs = [compose.submit(LONG, seed=number) for number in range(6)]
        wait_until(hosts, PATIENCE_SECONDS, "three workers to be at work")
        assert [compose.finish(job)["status"] for job in jobs] == ["completed"] * 6
    finally:
        compose.up("--scale", "worker=1", "--no-recreate")


def test_maintenance_runs_on_its_own_queue(compose: Compose) -> None:
    """What beat sends each hour, sent now."""
    celery = ("celery", "--app", "local.celery_app", "call", "delete_leftovers_task")
    compose.exec("beat", *celery, "--queue", "default")
    wait_until(
        lambda: "leftovers deleted" in compose.run("logs", "--no-color", "worker"),
        PATIENCE_SECONDS,
        "the task to run",
    )


def test_flower_shows_the_workers(compose: Compose) -> None:
    """Under its profile, on this machine alone."""
    compose.run("--profile", "flower", "up", "--detach", "--wait", "flower")
    try:
        wait_until(
            lambda: "celery@" in httpx.get(f"{compose.flower_url}/workers").text,
            PATIENCE_SECONDS,
            "flower to know a worker",
        )
    finally:
        compose.run("--profile", "flower", "rm", "--stop", "--force", "flower")


def test_jobs_and_pictures_outlive_down_and_up(compose: Compose) -> None:
    """The volumes stay: rows, bytes, and the secrets that were made up."""
    job = compose.finish(compose.submit("a green mug"))
    address = job["images"][0]["url"]
    data = compose.client.get(address).content
    compose.run("down")
    compose.up()
    assert compose.get(job)["status"] == "completed"
    assert compose.client.get(address).content == data
    assert compose.finish(compose.submit("a blue mug"))["status"] == "completed"

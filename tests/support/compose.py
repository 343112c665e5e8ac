"""The containers of docker-compose.yml as tests see them: a project of their own, and faults."""

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from threading import Thread
from typing import IO, Any, Self

import httpx
import psycopg2
from httpx_sse import connect_sse

from devkit.stack.server import free_port
from tests.support.api import SMALL, ReceivedEvent
from tests.support.snippets import blocks_of_kind, commands_of
from tests.support.wait import wait_until

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90.0
COMMAND_SECONDS = 240.0
BUILD_SECONDS = 600.0
"""Of the image, on a machine that has to fetch everything first."""

PLUGIN = os.environ.get("COMPOSE", "docker compose")
PROGRAM = "docker-compose"
FILE = "docker-compose.yml"
OVERRIDE_FILE = "tests/docker/override.yml"
"""Publishes Redis and PostgreSQL to this machine, and looks after health more often."""

TIMINGS = {
    "LEASE_SECONDS": "6",
    "SWEEP_SECONDS": "2",
    "DISPATCH_GRACE_SECONDS": "4",
    "RETRY_BACKOFF": "0",
    "SHUTDOWN_GRACE_SECONDS": "4",
    "MOCK_STEP_SECONDS": "0.2",
}
"""Recovery within seconds; what is tested is the same."""


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    within: float = COMMAND_SECONDS,
) -> str:
    """Run a command in the project's folder and return what it wrote to standard output.

    Args:
        command: Its words.
        environment: What is different for it.
        within: Seconds that it may take.

    Raises:
        AssertionError: It failed; holds the end of what it said.
    """
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )
    said = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
    assert done.returncode == 0, f"{shlex.join(command)}: {said}"
    return done.stdout


def _words_of_readme() -> list[str]:
    """Return the command that the README gives, without the program."""
    (block,) = blocks_of_kind("compose", PROJECT / "README.md")
    (command,) = commands_of(block.text)
    return shlex.split(command.removeprefix("docker compose "))


class Compose:
    """One compose project, reached as its user reaches it.

    Its image bears a name of its own, which nothing has before the first `up`: that one builds
    it, as on a machine with a fresh clone.

    Args:
        name: Of the project; the names of its network and volumes begin with it.
        command: The plugin, or the older program.
    """

    def __init__(self, name: str, command: str = PLUGIN) -> None:
        self.name = name
        self.url = f"http://localhost:{(port := free_port())}"
        self.flower_url = f"http://localhost:{(flower_port := free_port())}"
        self.image = f"darkroom:{name}"
        self._command = [
            *(*shlex.split(command), "--project-name", name, "--env-file", "docker/not-given"),
            # The developer's own `.env` and other files are not read.
            *(word for file in (FILE, OVERRIDE_FILE) for word in ("--file", file)),
        ]
        self._ports = {"postgres": free_port(), "redis": free_port()}
        self._environment = {
            **TIMINGS,
            **{f"TEST_{name.upper()}_PORT": str(port) for name, port in self._ports.items()},
            "DARKROOM_IMAGE": self.image,
            "API_PORT": str(port),
            "FLOWER_PORT": str(flower_port),
            "BUCKET_CREDENTIALS_FILE": "",
        }
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def changed(self, *files: str, **environment: str) -> Self:
        """Return the same project with more files of compose, and other settings."""
        other = copy(self)
        other._command = [*self._command, *(word for file in files for word in ("--file", file))]
        other._environment = {**self._environment, **environment}
        return other

    @property
    def network(self) -> str:
        """The network that the containers share, for others that are to reach them."""
        return f"{self.name}_default"

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of PostgreSQL and Redis in that network, as settings."""
        return {
            "DATABASE_URL": self._database_url("postgres:5432"),
            "REDIS_URL": "redis://redis:6379/0",
        }

    @property
    def outer_addresses(self) -> dict[str, str]:
        """Their addresses for this process."""
        return {
            "DATABASE_URL": self._database_url(f"127.0.0.1:{self._ports['postgres']}"),
            "REDIS_URL": f"redis://127.0.0.1:{self._ports['redis']}/0",
        }

    def _database_url(self, address: str) -> str:
        return f"postgresql://darkroom:{self._database_password}@{address}/darkroom"

    @cached_property
    def _database_password(self) -> str:
        return self.exec("postgres", "cat", "/run/secrets/database_password")

    def run(self, *words: str, within: float = COMMAND_SECONDS) -> str:
        """Run a command of compose on this project."""
        return run([*self._command, *words], self._environment, within=within)

    def build(self) -> None:
        """Build the image, with all that it is made of."""
        self.run("build", within=BUILD_SECONDS)

    def up(self, *words: str) -> None:
        """Start what is not running, and wait until it is healthy."""
        self.run(*_words_of_readme(), *words)

    @contextmanager
    def stopped(self, *services: str) -> Iterator[None]:
        """Have services stopped for the length of the block; whatever it does, all run after it."""
        self.run("stop", *services)
        try:
            yield
        finally:
            self.up()

    def destroy(self) -> None:
        """Remove containers, network, volumes and the image; the layers it was built of stay."""
        self.client.close()
        self.run("--profile", "flower", "down", "--volumes", "--remove-orphans", "--timeout", "1")
        run(["docker", "image", "rm", "--force", "--no-prune", self.image])

    def exec(self, service: str, *words: str) -> str:
        """Run a command in the container of a service and return its output."""
        return self.run("exec", "-T", service, *words).strip()

    def containers(self, service: str) -> list[str]:
        """Return the ids of the running containers of a service."""
        return self.run("ps", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return all that the engine knows of a container."""
        (found,) = json.loads(run(["docker", "inspect", container]))
        described: dict[str, Any] = found
        return described

    def is_healthy(self, service: str) -> bool:
        """Return whether a service runs and all its containers are healthy."""
        states = [self.inspect(container)["State"] for container in self.containers(service)]
        return bool(states) and all(
            state["Running"] and state["Health"]["Status"] == "healthy" for state in states
        )

    def wait_until_healthy(self, *services: str) -> None:
        """Wait until these services are healthy."""
        for service in services:
            wait_until(partial(self.is_healthy, service), PATIENCE_SECONDS, f"{service} to be well")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Return what a query finds, with the types of JSON."""
        query = f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) AS found"
        address = self.outer_addresses["DATABASE_URL"]
        with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            ((found,),) = cursor.fetchall()
        return list(found)

    def row(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row of a job."""
        (row,) = self.rows(f"SELECT * FROM generation_jobs WHERE id = '{job['id']}'")
        return row

    def images(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a job's images."""
        return self.rows(f"SELECT * FROM images WHERE job_id = '{job['id']}' ORDER BY position")

    @contextmanager
    def subscription(self, channel: str) -> Iterator[Callable[[int], list[str]]]:
        """Listen to a channel of Redis for the length of the block, as its own client does.

        Yields what returns the messages, byte for byte, once there are so many.
        """
        client = subprocess.Popen(
            [*self._command, "exec", "-T", "redis", "redis-cli", "subscribe", channel],
            cwd=PROJECT,
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        lines: list[str] = []
        reader = Thread(target=_read_lines, args=(client.stdout, lines), daemon=True)
        reader.start()
        # Three lines each: the kind, the channel, and what was sent; a number at first.
        wait_until(lambda: len(lines) >= 3, PATIENCE_SECONDS, "the subscription")

        def messages(at_least: int) -> list[str]:
            wait_until(
                lambda: len(lines) >= 3 * (at_least + 1), PATIENCE_SECONDS, f"{at_least} messages"
            )
            return lines[5::3]

        try:
            yield messages
        finally:
            client.terminate()
            client.wait()
            reader.join()
            client.stdout.close()

    def submit(self, prompt: str, **body: Any) -> dict[str, Any]:
        """Submit a job and return it as it was answered."""
        answer = self.client.post("/v1/generations", json={"prompt": prompt, **SMALL, **body})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def get(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job as the API shows it now."""
        answer = self.client.get(f"/v1/generations/{job['id']}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait_for_progress(self, job: Mapping[str, Any], progress: int = 10) -> None:
        """Wait until an attempt is at work on the job."""
        wait_until(
            lambda: self.get(job)["progress"] >= progress, PATIENCE_SECONDS, "the job to run"
        )

    def finish(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Follow a job to its end by its row, also while servers are unavailable."""

        def ended() -> dict[str, Any] | None:
            try:
                found = self.client.get(f"/v1/generations/{job['id']}")
            except httpx.TransportError:
                return None
            body: dict[str, Any] = found.json()
            return body if body.get("status") in ("completed", "failed") else None

        return wait_until(ended, PATIENCE_SECONDS, "the job to end")

    def follow(self, job: Mapping[str, Any]) -> list[ReceivedEvent]:
        """Follow a job over Server-Sent Events to its end, coming back as EventSource does."""
        received: list[ReceivedEvent] = []
        while not (received and received[-1].is_last):
            received += self._take(job, received[-1].id if received else None)
        return received

    def _take(self, job: Mapping[str, Any], after: str | None) -> list[ReceivedEvent]:
        headers = {"Last-Event-ID": after} if after else {}
        with connect_sse(self.client, "GET", job["urls"]["events"], headers=headers) as source:
            return [
                ReceivedEvent(event.id, event.data) for event in source.iter_sse() if event.data
            ]

    def kill_main_process(self, container: str) -> None:
        """Send SIGKILL to the program of a container, whose init then ends with it."""
        kill = "kill -9 $(cat /proc/1/task/1/children)"
        run(["docker", "exec", container, "sh", "-c", kill])


def _read_lines(source: IO[str], lines: list[str]) -> None:
    for line in source:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - others look at them meanwhile

"""What the functions need under `sam local`: servers on a network of Docker, and the SAM CLI."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.wait import wait_until

PROJECT = Path(__file__).parents[2]
SAM = PROJECT / ".venv-sam/bin/sam"
EVENTS = PROJECT / "events"
PASSWORD = "darkroom"
PATIENCE_SECONDS = 120
"""A first invocation builds an image on top of Lambda's."""


def sam_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a SAM CLI that asks nobody on the internet for anything."""
    return {
        **os.environ,
        "SAM_CLI_TELEMETRY": "0",
        # Of a container that starts while the machine is busy; 20 s else.
        "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": str(PATIENCE_SECONDS),
        "PATH": f"{SAM.parent}{os.pathsep}{os.environ['PATH']}",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        **variables,
    }


def docker(*arguments: str) -> str:
    """Run a command of Docker and return what it says."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"docker {arguments[0]}: {done.stderr}"
    return done.stdout.strip()


def sam(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the SAM CLI in the project."""
    return subprocess.run(
        [str(SAM), *arguments],
        cwd=PROJECT,
        env=sam_environment(**environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 3,
        check=False,
    )


@dataclass(frozen=True)
class Invocation:
    """What an invocation has answered and logged.

    Attributes:
        answer: Of the handler; its error, if that is what it ended with.
        lines: The JSON lines of its log.
        output: All that SAM has said.
        seconds: From the command to its end.
    """

    answer: Any
    lines: list[Mapping[str, Any]]
    output: str
    seconds: float


class Ground:
    """Redis and PostgreSQL on a network, reached from this process by published ports.

    Args:
        template: Of the bundles that are run there.
    """

    def __init__(self, template: Path) -> None:
        self.template = template
        self.network = f"darkroom-sam-{uuid4().hex[:8]}"
        self._containers: list[str] = []

    def start(self) -> None:
        """Start both and wait for them."""
        docker("network", "create", self.network)
        self.run("redis", "redis:7-alpine", published="6379")
        self.run(
            "postgres",
            "postgres:16-alpine",
            published="5432",
            environment={"POSTGRES_USER": "darkroom", "POSTGRES_PASSWORD": PASSWORD},
        )
        wait_until(self._answers, 60, "PostgreSQL to answer")

    def invoke(self, function: str, event: Path, **environment: str) -> "Invocation":
        """Run a function once; see the module's `invoke`."""
        return invoke(self.template, self.network, function, event, **environment)

    def stop(self) -> None:
        """Remove everything."""
        if self._containers:
            docker("rm", "--force", "--volumes", *self._containers)
        docker("network", "rm", self.network)

    def run(
        self,
        alias: str,
        image: str,
        *command: str,
        published: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Start a container that others find by its alias; return its id."""
        ports = ["--publish", f"127.0.0.1::{published}"] if published else []
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        name = docker(
            *("run", "--detach", "--network", self.network, "--network-alias", alias),
            *(*ports, *variables, image, *command),
        )
        self._containers.append(name)
        return name

    def _answers(self) -> bool:
        done = subprocess.run(
            [
                *("docker", "exec", self._containers[1]),
                *("pg_isready", "--host=127.0.0.1", "--username=darkroom", "--quiet"),
            ],
            check=False,
            timeout=30,
        )
        return done.returncode == 0

    @cached_property
    def redis_url(self) -> str:
        """The address of Redis for this process."""
        return f"redis://{docker('port', self._containers[0], '6379')}/0"

    @cached_property
    def database_url(self) -> str:
        """The address of PostgreSQL for this process."""
        address = docker("port", self._containers[1], "5432")
        return f"postgresql://darkroom:{PASSWORD}@{address}/darkroom"


def of_bundles(template: Path) -> tuple[str, ...]:
    """Return the options of the SAM CLI that name what was built, and the project's settings."""
    return ("--template", str(template), "--config-file", str(PROJECT / "samconfig.toml"))


def invoke(
    template: Path, network: str, function: str, event: Path, **environment: str
) -> Invocation:
    """Run a function once, on a network of Docker; SAM's own exit code says nothing of it.

    Other values can be given to variables that the template names.
    """
    begin = time.monotonic()
    done = sam(
        *("local", "invoke", function, "--event", str(event), *of_bundles(template)),
        *("--docker-network", network, "--skip-pull-image"),
        **environment,
    )
    return Invocation(
        _last_json(done.stdout),
        list(_json_lines(done)),
        done.stdout + done.stderr,
        time.monotonic() - begin,
    )


def _last_json(text: str) -> Any:
    """Return the last line of an output as JSON: the answer comes after all lines of the log."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return None


def _json_lines(done: "subprocess.CompletedProcess[str]") -> Iterator[Mapping[str, Any]]:
    for line in (done.stdout + done.stderr).splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "event" in value:
            yield value


@contextmanager
def running_ground(template: Path) -> Iterator[Ground]:
    """Give servers on a network of their own, removed at the end."""
    ground = Ground(template)
    try:
        ground.start()
        yield ground
    finally:
        ground.stop()

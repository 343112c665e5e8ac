"""What the functions need under `sam local`: Redis and PostgreSQL of compose, and the SAM CLI."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.compose import Compose, run

PROJECT = Path(__file__).parents[2]
SAM = PROJECT / ".venv-sam/bin/sam"
EVENTS = PROJECT / "events"
PATIENCE_SECONDS = 120
"""A first invocation builds an image on top of Lambda's."""

SAM_SECONDS = 3 * PATIENCE_SECONDS


def sam_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a SAM CLI that sends no request to the internet."""
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


def sam(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the SAM CLI in the project."""
    return subprocess.run(
        [str(SAM), *arguments],
        cwd=PROJECT,
        env=sam_environment(**environment),
        capture_output=True,
        text=True,
        timeout=SAM_SECONDS,
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
    """Redis and PostgreSQL of a compose project of their own, without workers that take the jobs.

    Args:
        compose: The project.
        template: Of the bundles that are run in its network.
    """

    def __init__(self, compose: Compose, template: Path) -> None:
        self.compose = compose
        self.template = template
        self._containers: list[str] = []

    def start(self) -> None:
        """Start both and wait for them; PostgreSQL is empty."""
        self.compose.up("redis", "postgres")

    def invoke(self, function: str, event: Path, **environment: str) -> Invocation:
        """Run a function once; see the module's `invoke`."""
        return invoke(self.compose, self.template, function, event, **environment)

    def stop(self) -> None:
        """Remove everything."""
        if self._containers:
            run(["docker", "rm", "--force", "--volumes", *self._containers])
        self.compose.destroy()

    def run(self, alias: str, image: str, *command: str) -> str:
        """Start a container that the functions find by its alias; return its id."""
        name = run(
            [
                *("docker", "run", "--detach", "--network", self.compose.network),
                *("--network-alias", alias, image, *command),
            ]
        ).strip()
        self._containers.append(name)
        return name


def of_bundles(template: Path) -> tuple[str, ...]:
    """Return the options of the SAM CLI that name what was built, and the project's settings."""
    return ("--template", str(template), "--config-file", str(PROJECT / "samconfig.toml"))


def invoke(
    compose: Compose, template: Path, function: str, event: Path, **environment: str
) -> Invocation:
    """Run a function once, in the network of a compose project and on its servers.

    SAM's own exit code says nothing of it. Other values can be given to variables that the
    template names.
    """
    begin = time.monotonic()
    done = sam(
        *("local", "invoke", function, "--event", str(event), *of_bundles(template)),
        *("--docker-network", compose.network, "--skip-pull-image"),
        **{**compose.addresses, **environment},
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
    """Give servers of a project of their own, removed at the end."""
    compose = Compose(f"darkroom-sam-{os.getpid()}")
    ground = Ground(compose, template)
    try:
        ground.start()
        yield ground
    finally:
        ground.stop()

"""`darkroom up`: a runtime that takes jobs until it is told to stop."""

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import typer

from local.cli.running import Running, running

POLL_SECONDS = 0.1

_USAGE = """\
The {runtime} runtime takes jobs. From another shell:

    . {environment}
    {python} - <<'END'
    from shared.imaging.request import GenerationRequest
    from shared.settings import load_settings
    from shared.wiring import build_services

    with build_services(load_settings()) as services:
        job = services.submit(GenerationRequest(prompt="A ceramic mug"))
        for event in services.follow(job.id):
            print(event.step.as_json())
    END

Its images are kept in {images}. Ctrl-C stops everything.
"""


def run_up(runtime_name: str) -> None:
    """Run until a signal ends the program.

    Raises:
        ConfigurationError: A setting is wrong, or this machine lacks something.
        ServiceUnavailable: A server or the runtime did not come up, or has ended.
    """
    with running(runtime_name, _say) as ground:
        path = _write_environment(ground)
        usage = _USAGE.format(
            runtime=runtime_name,
            environment=shlex.quote(str(path)),
            python=shlex.quote(sys.executable),
            images=ground.environment["IMAGE_DIR"],
        )
        typer.echo(usage)
        _stream_log(ground)


def _say(text: str) -> None:
    typer.echo(f"{text}...")


def _write_environment(ground: Running) -> Path:
    """Write what another shell is to read, for this user alone: it holds passwords."""
    path = ground.folder / "environment"
    path.touch(mode=0o600)
    path.write_text(exports(ground.environment))
    return path


def exports(environment: Mapping[str, str]) -> str:
    """Return shell commands that set these variables, and no queue but theirs."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join(["unset QUEUE_URL", *lines, ""])


def _stream_log(ground: Running) -> None:
    with ground.runtime.log_path.open("rb") as log:
        while True:
            sys.stdout.buffer.write(log.read())
            sys.stdout.flush()
            ground.check()
            time.sleep(POLL_SECONDS)

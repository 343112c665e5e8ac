"""`darkroom up`: a runtime and its API that take jobs until a signal stops them."""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cli.output import say, say_lines
from devkit.running import Running, running
from local.web.server import listen

POLL_SECONDS = 0.1
DEFAULT_URL = "http://127.0.0.1:8000"

_USAGE = """
The {runtime} runtime takes jobs.

    page      {url}/
    API       {url}/docs
    images    {images}
    data      {data}

From another shell:

    {export}{darkroom} generate "A ceramic mug"

    curl {curl}{url}/v1/generations \\
        -H 'Content-Type: application/json' -d '{{"prompt": "A ceramic mug"}}'

The same servers from Python (shared.wiring), psql or redis-cli, after

    . {environment}
{keys}
Ctrl-C stops everything.
"""

_KEYS = """
API keys are needed. After the line above, this makes one for DARKROOM_API_KEY:

    {darkroom} keys create --workspace default --name me
"""

_EXPORT = "export DARKROOM_URL={url}\n    "

_KEY_HEADER = '-H "Authorization: Bearer $DARKROOM_API_KEY" \\\n        '


def run_up(runtime_name: str, host: str, port: int, data: Path | None) -> None:
    """Run until a signal ends the program.

    Port 0 takes any that is free; no data folder means that rows and images are deleted.
    """
    # Found out before anything is started.
    listen(host, port).close()
    given = {**os.environ, "API_HOST": host, "API_PORT": str(port)}
    with running(runtime_name, given, _say, data) as ground:
        say_lines(_usage(ground, data).split("\n"))
        _stream_logs(ground)


def _say(text: str) -> None:
    say(f"{text}...")


def _usage(ground: Running, data: Path | None) -> str:
    needs_keys = ground.settings.needs_api_keys
    darkroom = _own_name()
    # For this user alone: it holds passwords.
    exported = ground.harness.folder / "environment"
    exported.touch(mode=0o600)
    exported.write_text(exports({**ground.environment, "DARKROOM_URL": ground.api.url}))
    return _USAGE.format(
        runtime=ground.runtime.runtime,
        url=ground.api.url,
        images=ground.environment["IMAGE_DIR"],
        export="" if ground.api.url == DEFAULT_URL else _EXPORT.format(url=ground.api.url),
        darkroom=darkroom,
        curl=_KEY_HEADER if needs_keys else "",
        data=_describe_data(ground, data),
        environment=shlex.quote(str(exported)),
        keys=_KEYS.format(darkroom=darkroom) if needs_keys else "",
    )


def _describe_data(ground: Running, data: Path | None) -> str:
    if not ground.harness.stack.servers or ground.harness.stack.postgres is None:
        return "in the servers of DATABASE_URL and REDIS_URL"
    if data is None:
        return "deleted at the end; to keep it, set DARKROOM_DATA to a folder"
    return str(data.resolve())


def _own_name() -> str:
    """Return how this program is called from the current folder."""
    if shutil.which("darkroom"):
        return "darkroom"
    script = Path(sys.argv[0])
    if script.name == "darkroom":
        return shlex.quote(os.path.relpath(script))
    return f"{shlex.quote(sys.executable)} -m cli"


def exports(environment: Mapping[str, str]) -> str:
    """Return shell commands that set these variables, and no queue or Redis but theirs."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join(["unset QUEUE_URL REDIS_URL_FILE", *lines, ""])


def _stream_logs(ground: Running) -> None:
    """Print what the processes add to their logs, in whole lines."""
    rests = {path.open("rb"): b"" for path in ground.harness.folder.glob("*.log")}
    while True:
        for log, rest in rests.items():
            lines, _, rests[log] = (rest + log.read()).rpartition(b"\n")
            say_lines(lines.decode(errors="replace").splitlines())
        ground.harness.check()
        time.sleep(POLL_SECONDS)

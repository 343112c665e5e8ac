"""What README and docs have a reader start, and the programs in Python that use it, work."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from devkit.stack import StackOptions, embedded_stack
from devkit.stack.server import free_port
from tests.support.snippets import (
    PROJECT,
    Block,
    blocks_of_kind,
    check_output,
    commands_of,
    page_name,
    pages_of_kind,
)
from tests.support.wait import wait_until

PATIENCE_SECONDS = 90
NAMED_SERVERS = {
    "postgresql://user:password@host/name": "DATABASE_URL",
    "redis://host:6379/0": "REDIS_URL",
}
"""What a page calls the reader's own servers."""

USE_OF_THE_ROUTES = """
import asyncio, httpx

async def use() -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        job_id = (await client.post("/products/mug/pictures")).json()
        print((await client.get(f"/pictures/{job_id}")).json()["status"])

asyncio.run(use())
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Give servers of one's own, with the programs on the PATH."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with embedded_stack(options=StackOptions(tcp_redis=True)) as stack:
        images = str(stack.folder / "images")
        port = str(free_port())
        own = {"IMAGE_DIR": images, "API_PORT": port, "MOCK_STEP_SECONDS": "0.05"}
        yield {**os.environ, **stack.environment, **own, "PATH": programs}


@contextmanager
def started(command: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a command that goes on until it is stopped; end it and its children."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=PROJECT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)


def run(command: list[str], environment: Mapping[str, str], place: str) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{place}: {done.stdout}{done.stderr}"
    return done.stdout


def start_servers(
    block: Block, environment: Mapping[str, str], folder: Path, running: ExitStack
) -> None:
    """Run a block that starts Darkroom on the reader's own servers."""
    for number, command in enumerate(commands_of(block.text)):
        if command.startswith("export "):
            words = dict(word.split("=", 1) for word in command.split()[1:])
            assert {value: name for name, value in words.items()} == NAMED_SERVERS
        elif command.startswith("darkroom migrate"):
            run(["/bin/sh", "-c", command], environment, block.place)
        else:
            running.enter_context(started(command, environment, folder / f"{number}.log"))


def is_ready(environment: Mapping[str, str]) -> bool:
    """Return whether the API has everything that it needs, a worker too."""
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{environment['API_PORT']}/readyz").is_success
    return False


@pytest.mark.parametrize("page", pages_of_kind("servers"), ids=page_name)
def test_own_servers_run_jobs_for_programs(
    page: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Migration, worker and API as the page starts them; then each of its programs."""
    (block,) = blocks_of_kind("servers", page)
    with ExitStack() as running:
        start_servers(block, environment, tmp_path, running)
        wait_until(lambda: is_ready(environment), PATIENCE_SECONDS, "worker and API to be ready")
        url = f"http://127.0.0.1:{environment['API_PORT']}/v1/generations"
        prefer = {"Prefer": "wait=25"}
        job = httpx.post(url, json={"prompt": "a mug"}, headers=prefer, timeout=30).json()
        assert job["status"] == "completed"
        jobs = len(httpx.get(url).json()["items"])
        for program in blocks_of_kind("python", page):
            text = program.text + (USE_OF_THE_ROUTES if "FastAPI()" in program.text else "")
            printed = run([sys.executable, "-c", text], environment, program.place)
            assert printed, program.place
            assert len(httpx.get(url).json()["items"]) == (jobs := jobs + 1), program.place


def targets_of_make() -> list[tuple[str, list[Block]]]:
    """Return each command of make that a page shows, once, with what it is to print."""
    seen: dict[str, list[Block]] = {}
    for page in pages_of_kind("make"):
        last = ""
        for block in blocks_of_kind("make", page):
            if block.mark == "output":
                seen[last].append(block)
                continue
            for last in commands_of(block.text):
                seen.setdefault(last, [])
    return list(seen.items())


@pytest.mark.parametrize(("command", "outputs"), targets_of_make(), ids=str)
def test_targets_of_make_do_what_the_page_says(
    command: str, outputs: list[Block], environment: Mapping[str, str], tmp_path: Path
) -> None:
    """`make demo` ends with pictures, `make up` serves; `.venv` is taken as it is."""
    own_servers = NAMED_SERVERS.values()
    given = {name: text for name, text in environment.items() if name not in own_servers}
    as_it_is = command.replace("make ", "make --old-file .venv/.runtime --no-print-directory ", 1)
    if command.startswith("make demo"):
        printed = run(["/bin/sh", "-c", as_it_is], given, command)
        for block in outputs:
            check_output(block, printed)
        assert printed.count(".png") == 2
        return
    log = tmp_path / "up.log"
    with started(as_it_is, given, log):
        wait_until(lambda: "Ctrl-C stops" in log.read_text(), PATIENCE_SECONDS, "make up to serve")
        answer = httpx.get(f"http://127.0.0.1:{given['API_PORT']}/healthz")
        assert answer.json() == {"status": "ok"}

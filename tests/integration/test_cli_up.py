"""`darkroom up` as its users meet it: started, used from another shell, stopped in every way."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.cli import (
    PATIENCE_SECONDS,
    PROJECT,
    Session,
    darkroom,
    process_below,
    tidy_environment,
)


@pytest.fixture
def environment() -> Iterator[Mapping[str, str]]:
    """Give an environment that is tidy after each test."""
    with tidy_environment() as environment:
        yield environment


PROGRAM = """
from shared.imaging.request import GenerationRequest
from shared.settings import load_settings
from shared.wiring import build_services

with build_services(load_settings()) as services:
    job = services.submit(GenerationRequest(prompt="A mug", size="256x256"))
    for event in services.follow(job.id):
        print(event.step.as_json())
"""


def test_up_says_how_to_submit_and_when_its_runtime_has_died(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """What it prints works in another shell, as it is."""
    session = Session(environment, tmp_path, "up", "--runtime", "lambda", "--port", "0")
    session.wait_for("Ctrl-C stops everything.")
    _, _, usage = session.out.partition("From another shell:")
    recipe = re.findall(r"^    (.*)$", usage, re.MULTILINE)
    assert [line.split()[0] for line in recipe].count("curl") == 1
    other_shell = {name: environment[name] for name in ("PATH", "PYTHONPATH")}
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join([*recipe, shlex.join([sys.executable, "-c", PROGRAM])])],
        env={**other_shell, "QUEUE_URL": "another's"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.png"))) == 1
    assert '"prompt":"A ceramic mug"' in done.stdout
    assert '"status": "completed"' in done.stdout.splitlines()[-1]
    session.wait_for('"event": "attempt ended"')
    session.wait_for('"event": "request"')

    process_below(session, "devkit.lambda_host").kill()
    assert session.wait() == 1
    assert session.err.startswith("darkroom: the lambda runtime has ended: ")
    assert session.err.count("\n") == 1


def test_up_keeps_its_data_in_the_folder_that_is_named(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Rows and images are there again at the next start; without a folder they are deleted."""
    folder = Path(environment["TMPDIR"]).parent / f"kept-{uuid4().hex}"
    given = {**environment, "DARKROOM_DATA": str(folder)}
    done = {}
    try:
        for arguments in (("generate", "A mug", "--size", "256x256"), ("jobs",)):
            session = Session(given, tmp_path, "up", "--port", "0")
            session.wait_for("Ctrl-C stops everything.")
            assert f"data      {folder}\n" in session.out
            [url] = re.findall(r"page +(http://\S+)/$", session.out, re.MULTILINE)
            client = {**environment, "DARKROOM_URL": url}
            asked = darkroom(client, *arguments, "--json", cwd=tmp_path)
            assert (asked.returncode, asked.stderr) == (0, "")
            done[arguments[0]] = json.loads(asked.stdout)
            again = darkroom(given, "up", "--port", "0")
            assert (again.returncode, again.stdout) == (2, "Starting the servers...\n")
            assert again.stderr == f"darkroom: {folder} is in use by another process\n"
            session.process.send_signal(signal.SIGINT)
            assert session.wait() == 128 + signal.SIGINT
            assert session.err == ""
        [job] = done["jobs"]["items"]
        assert (job["id"], job["status"]) == (done["generate"]["id"], "completed")
        assert (folder / "images" / job["id"] / "1" / "0").is_file()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_make_that_is_terminated_ends_what_it_started(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """A supervisor knows make alone; it also says how to keep the data."""
    # Not set up anew, which would delete the packages of this very test.
    set_up = ("--old-file", ".venv/.runtime")
    program = ("make", "--silent", "-C", str(PROJECT), *set_up, "up", "API_PORT=0")
    session = Session(environment, tmp_path, program=program)
    session.wait_for("Ctrl-C stops everything.")
    assert "to keep it, set DARKROOM_DATA to a folder" in session.out
    session.process.terminate()
    assert session.wait() != 0
    assert session.out.endswith("Stopping...\n")


def test_up_says_when_its_api_has_died(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A runtime without an API is of no use."""
    session = Session(environment, tmp_path, "up", "--port", "0")
    session.wait_for("Ctrl-C stops everything.")
    process_below(session, "local.api").kill()
    assert session.wait() == 1
    assert session.err.startswith("darkroom: the celery API has ended: ")
    assert session.err.count("\n") == 1


def test_up_refuses_a_port_in_use_before_it_starts_anything(
    environment: Mapping[str, str],
) -> None:
    """Most likely another one runs, and is meant."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = darkroom(environment, "up", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"darkroom: 127.0.0.1:{port} is in use; API_PORT chooses another port\n"

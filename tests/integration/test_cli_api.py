"""The commands that talk to the API, as their users meet them: on both runtimes."""

import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from devkit.stack.server import free_port
from tests.support.cli import PROJECT, Session, darkroom, tidy_environment
from tests.support.wait import wait_until

PATIENCE_SECONDS = 40
SMALL = ("--size", "256x256")
JOB = re.compile(r"^job ([0-9a-f-]{36})$", re.MULTILINE)

BOTH_RUNTIMES = pytest.mark.parametrize("runtime", ["celery", "lambda"])


@dataclass(frozen=True)
class Served:
    """A running `darkroom up`, and what its users have in their environment."""

    client: Mapping[str, str]
    database: Mapping[str, str]

    def ask(self, *arguments: str) -> Any:
        """Run a command that must succeed, and return the JSON that it prints."""
        done = darkroom(self.client, *arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)


@contextmanager
def serving(runtime: str, folder: Path) -> Iterator[Served]:
    """Run `darkroom up`; Ctrl-C must end it in order."""
    with tidy_environment() as environment:
        session = Session(environment, folder, "up", "--runtime", runtime, "--port", "0")
        session.wait_for("Ctrl-C stops everything.")
        url = re.findall(r"page +(http://\S+)/$", session.out, re.MULTILINE)[0]
        [exported] = re.findall(r"^    \. (\S+)$", session.out, re.MULTILINE)
        [address] = re.findall(r"DATABASE_URL='?([^'\n]+)", Path(exported).read_text())
        yield Served({**environment, "DARKROOM_URL": url}, {**environment, "DATABASE_URL": address})
        session.process.send_signal(signal.SIGINT)
        assert session.wait() == 128 + signal.SIGINT
        assert session.err == ""


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    """Give each runtime by its name: started at its first use, kept to the end of the module."""
    made: dict[str, Served] = {}
    with ExitStack() as undo:

        def named(name: str) -> Served:
            if name not in made:
                folder = tmp_path_factory.mktemp(name)
                made[name] = undo.enter_context(serving(name, folder))
            return made[name]

        yield named


@BOTH_RUNTIMES
def test_generate_shows_progress_and_leaves_pictures_that_open(
    runtime: str, serve: Callable[[str], Served], tmp_path: Path
) -> None:
    """It says why an attempt failed, and when the next one comes; a prompt is no markup."""
    prompt = "A [bold]mug[/nothing] [[rate-limit:3]]"
    done = darkroom(
        serve(runtime).client, "generate", prompt, *SMALL, "--n", "2", "--out", "new", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    progress = [int(found) for found in re.findall(r"^ *(\d+) %", done.stdout, re.MULTILINE)]
    assert progress == [0, 5, 10, 30, 50, 0, 5, 10, 30, 50, 70, 90, 95, 100]
    assert re.search(
        r"^attempt 1 failed: The image provider was too busy \(rate_limited\)$",
        done.stdout,
        re.MULTILINE,
    )
    assert re.search(r"^attempt 2 of 3 comes in \d+ s, at \d\d:", done.stdout, re.MULTILINE)
    [job_id] = JOB.findall(done.stdout)
    paths = done.stdout.splitlines()[-2:]
    assert paths == [f"new/{job_id}-{position}.png" for position in (0, 1)]
    for path in paths:
        with Image.open(tmp_path / path) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("PNG", (256, 256))


@BOTH_RUNTIMES
def test_a_quote_submits_nothing(runtime: str, serve: Callable[[str], Served]) -> None:
    """Price and limits, for a person and for a program."""
    client, order = serve(runtime).client, ("generate", "A quoted mug", *SMALL, "--quote")
    shown = darkroom(client, *order)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[0] == "mock-1 (mock): 0 micro-dollars"
    assert re.search(r"^open-jobs: \d+ of 500 left$", shown.stdout, re.MULTILINE)
    quote = json.loads(darkroom(client, *order, "--json").stdout)
    assert quote["models"][0]["model"] == "mock-1"
    assert "A quoted mug" not in darkroom(client, "jobs").stdout


@BOTH_RUNTIMES
def test_json_is_all_that_a_program_reads(
    runtime: str, serve: Callable[[str], Served], tmp_path: Path
) -> None:
    """Each command prints what the API says, and the events as they are published."""
    served = serve(runtime)
    labels = ("--metadata", "order=A=17", "--metadata", "shop=x")
    job = served.ask("generate", "A mug", *SMALL, "--seed", "7", *labels, "--out", str(tmp_path))
    assert (job["status"], job["seed"]) == ("completed", 7)
    assert job["metadata"] == {"order": "A=17", "shop": "x"}
    assert [path.name for path in tmp_path.iterdir()] == [f"{job['id']}-0.png"]

    found = served.ask("show", job["id"])
    assert {**found, "urls": None, "images": None} == {**job, "urls": None, "images": None}
    page = served.ask("jobs", "--status", "completed", "--limit", "1")
    assert [item["id"] for item in page["items"]] == [job["id"]]
    assert served.ask("cancel", job["id"])["status"] == "completed"

    done = darkroom(served.client, "follow", job["id"], "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["progress"] for event in events] == [0, 5, 10, 30, 50, 70, 90, 95, 100]
    assert {tuple(event) for event in events} == {("status", "progress", "message")}


@BOTH_RUNTIMES
def test_ctrl_c_leaves_the_job_running(
    runtime: str, serve: Callable[[str], Served], tmp_path: Path
) -> None:
    """It says how to follow and how to cancel; both work, and a cancelled job ends with 1."""
    served = serve(runtime)
    session = Session(served.client, tmp_path, "generate", "[[hang]]", "--out", str(tmp_path))
    session.wait_for("30 %")
    session.process.send_signal(signal.SIGINT)
    assert session.wait() == 128 + signal.SIGINT
    [job_id] = JOB.findall(session.out)
    assert session.err == (
        "darkroom: the job goes on; to see or to end it:\n"
        f"    darkroom follow {job_id}\n"
        f"    darkroom cancel {job_id}\n"
    )
    assert served.ask("show", job_id)["status"] == "processing"

    cancelled = darkroom(served.client, "cancel", job_id)
    assert (cancelled.returncode, cancelled.stderr) == (0, "")
    assert cancelled.stdout == f"job {job_id} ends at its next step\n"
    followed = darkroom(served.client, "follow", job_id)
    assert followed.returncode == 1
    assert followed.stdout.splitlines()[-1] == " 30 %  failed      Cancelled"
    assert followed.stderr == "darkroom: the job failed: Cancelled (cancelled)\n"


def test_job_that_fails_ends_with_its_reason(
    serve: Callable[[str], Served], tmp_path: Path
) -> None:
    """A program still gets the job; a person gets a table and a page of text."""
    served = serve("celery")
    prompt = "[[reject]] \N{TEACUP WITHOUT HANDLE}\nof two lines, and " + "long " * 40
    done = darkroom(served.client, "generate", prompt, "--json", "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "darkroom: the job failed: The mock provider rejects this prompt (prompt_rejected)\n"
    )
    job = json.loads(done.stdout)
    assert (job["status"], job["error"]["code"]) == ("failed", "prompt_rejected")

    listed = darkroom({**served.client, "COLUMNS": "80"}, "jobs", "--status", "failed")
    head, *rows = listed.stdout.splitlines()
    assert head.split() == ["ID", "STATUS", "DONE", "AGE", "PROMPT"]
    [row] = [row for row in rows if row.startswith(job["id"])]
    assert "[[reject]]" in row
    assert len(row) < 80
    shown = darkroom(served.client, "show", job["id"])
    assert shown.stdout.splitlines()[-1] == (
        "error     The mock provider rejects this prompt (prompt_rejected)"
    )


def test_refusals_of_the_api_are_one_line(serve: Callable[[str], Served], tmp_path: Path) -> None:
    """2 asks the caller to change something; 1 says that it did not work."""
    client = serve("celery").client
    out = ("--out", str(tmp_path))
    invalid = darkroom(client, "generate", " ", *out)
    assert (invalid.returncode, invalid.stdout) == (2, "")
    assert invalid.stderr == "darkroom: prompt must not be empty (invalid_request)\n"
    stranger = darkroom({**client, "DARKROOM_API_KEY": "dk_wrong"}, "jobs")
    assert (stranger.returncode, stranger.stdout) == (2, "")
    assert stranger.stderr == (
        "darkroom: this API key is not valid (unauthorized); set DARKROOM_API_KEY\n"
    )
    job_id = str(uuid4())
    unknown = darkroom(client, "show", job_id)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == f"darkroom: no job '{job_id}' (not_found)\n"


@pytest.mark.parametrize(
    "arguments", [("generate", "A mug"), ("jobs",), ("follow", str(uuid4()), "--json")]
)
def test_api_that_does_not_run_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """The line says where it was sought, and what to do."""
    url = f"http://127.0.0.1:{free_port()}"
    done = darkroom({"PYTHONPATH": str(PROJECT), "DARKROOM_URL": url}, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"darkroom: the API at {url} cannot be reached: Connection refused "
        '(is "darkroom up" running? DARKROOM_URL says where)\n'
    )


def test_keys_are_made_listed_and_revoked(serve: Callable[[str], Served]) -> None:
    """A key is printed once, alone; it opens its workspace until it is revoked."""
    served = serve("celery")
    unknown = darkroom(served.database, "keys", "create", "--workspace", "shop", "--name", "page")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "darkroom: workspace: no workspace 'shop'\n"

    made = darkroom(
        served.database,
        *("keys", "create", "--workspace", "shop", "--name", "page", "--create-workspace"),
    )
    assert made.returncode == 0
    key = made.stdout.strip()
    key_id = key.split("_")[1]
    assert made.stderr == f"key {key_id} of workspace shop; it is shown only now\n"
    with_key = {**served.client, "DARKROOM_API_KEY": key}
    page = darkroom(with_key, "jobs", "--json")
    assert json.loads(page.stdout) == {"items": [], "next_cursor": None}

    listed = darkroom(served.database, "keys", "list", "--workspace", "shop", "--json")
    [line] = json.loads(listed.stdout)["items"]
    assert (line["id"], line["name"], line["revoked_at"]) == (key_id, "page", None)
    assert key not in listed.stdout
    assert darkroom(served.database, "keys", "revoke", key_id).stdout == f"revoked {key_id}\n"
    assert darkroom(with_key, "jobs").returncode == 2
    again = darkroom(served.database, "keys", "revoke", key_id)
    assert again.returncode == 1
    assert again.stderr == f"darkroom: no API key '{key_id}' that could be revoked\n"


def test_terminated_follow_leaves_the_job_too(
    serve: Callable[[str], Served], tmp_path: Path
) -> None:
    """Every signal ends the program; the events arrived as they were published."""
    served = serve("celery")
    generating = Session(served.client, tmp_path, "generate", "[[hang]]", "--out", str(tmp_path))
    generating.wait_for("30 %")
    [job_id] = JOB.findall(generating.out)
    folder = tmp_path / "following"
    folder.mkdir()
    following = Session(served.client, folder, "follow", job_id, "--json")
    following.wait_for('"progress": 30')
    following.process.send_signal(signal.SIGTERM)
    assert following.wait() == 128 + signal.SIGTERM
    assert f"darkroom cancel {job_id}" in following.err
    served.ask("cancel", job_id)
    wait_until(
        lambda: generating.process.poll() == 1, PATIENCE_SECONDS, "generate did not receive the end"
    )

"""The command line as its users meet it: real processes, from the first line to the last."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from PIL import Image

from devkit.stack import EmbeddedPostgres, EmbeddedRedis, embedded_stack
from shared.jobs.acceptance import NewJob
from shared.settings import Settings
from shared.wiring import build_services
from tests.support.cli import (
    PATIENCE_SECONDS,
    Session,
    command,
    darkroom,
    process_below,
    tidy_environment,
)


@pytest.fixture
def environment() -> Iterator[Mapping[str, str]]:
    """Give an environment that is tidy after each test."""
    with tidy_environment() as environment:
        yield environment


@pytest.mark.parametrize("runtime", ["celery", "lambda"])
def test_demo_shows_progress_and_leaves_pictures_that_open(
    runtime: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """One line for each event, then the pictures' paths; nothing on standard error."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    # Modules of these names must not be imported from the current folder.
    (folder / "celery.py").write_text("raise RuntimeError")
    (folder / "functions.py").write_text("raise RuntimeError")
    done = darkroom(environment, "demo", "--runtime", runtime, "--out", "out", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    progress = [int(found) for found in re.findall(r"^ *(\d+) %", done.stdout, re.MULTILINE)]
    assert progress == [0, 5, 10, 30, 50, 70, 90, 95, 100]
    paths = re.findall(r"^(\S+\.png)  1024 x 1024 px", done.stdout, re.MULTILINE)
    assert len(paths) == 2
    for path in paths:
        with Image.open(folder / path) as picture:
            picture.load()
            assert (picture.format, picture.size) == ("PNG", (1024, 1024))


def test_demo_says_in_one_line_why_its_job_failed(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """A rejected prompt is the job's fault, not the demo's: no traceback."""
    done = darkroom(environment, "demo", "--prompt", "[[reject]]  a mug", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "darkroom: the job failed: The mock provider rejects this prompt (prompt_rejected)\n"
    )


def test_demo_takes_the_files_that_compose_has(
    environment: Mapping[str, str], redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """An address in one is that of the Redis to use; a password is not of the database here."""
    (tmp_path / "redis").write_text(f"{redis_server.url}\n")
    (tmp_path / "password").write_text("of another database\n")
    (tmp_path / "key").touch()
    files = {
        "REDIS_URL_FILE": str(tmp_path / "redis"),
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        "SIGNING_KEY_FILE": str(tmp_path / "key"),
    }
    done = darkroom({**environment, **files}, "demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with redis_server.client() as redis:
        assert len(redis.keys("task_events:*")) == 1


def test_demo_starts_a_redis_where_a_file_names_none(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """An empty file stands for an address that was not given."""
    (tmp_path / "redis").touch()
    given = {**environment, "REDIS_URL_FILE": str(tmp_path / "redis")}
    done = darkroom(given, "demo", "--prompt", "[[reject]]", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "(prompt_rejected)" in done.stderr


def test_demo_interrupted_in_its_job_ends_in_order(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Ctrl-C ends a job that would hang for ever; a second one does not cut the end short."""
    arguments = ("demo", "--prompt", "[[hang]]", "--out", str(tmp_path / "pictures"))
    session = Session(environment, tmp_path, *arguments)
    session.wait_for("30 %")
    session.process.send_signal(signal.SIGINT)
    session.wait_for("Stopping")
    session.process.send_signal(signal.SIGINT)
    assert session.wait() == 128 + signal.SIGINT
    assert session.err == ""


def test_demo_terminated_while_it_starts_ends_in_order(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """A supervisor's SIGTERM takes effect at any time."""
    arguments = ("demo", "--runtime", "lambda", "--out", str(tmp_path / "pictures"))
    session = Session(environment, tmp_path, *arguments)
    session.wait_for("Starting the lambda runtime")
    session.process.send_signal(signal.SIGTERM)
    assert session.wait() == 128 + signal.SIGTERM
    assert session.err == ""


def test_demo_says_when_its_api_has_died(environment: Mapping[str, str], tmp_path: Path) -> None:
    """The end of the job could not be shown."""
    arguments = ("demo", "--prompt", "[[hang]]", "--out", str(tmp_path / "pictures"))
    session = Session(environment, tmp_path, *arguments)
    session.wait_for("30 %")
    process_below(session, "local.api").kill()
    assert session.wait() == 1
    assert session.err.startswith("darkroom: the celery API has ended: ")
    assert session.err.count("\n") == 1


def test_bad_setting_is_named_in_one_line(environment: Mapping[str, str], tmp_path: Path) -> None:
    """Usage and settings end with 2, before any server is started."""
    out = str(tmp_path / "pictures")
    done = darkroom({**environment, "SOFT_TIME_LIMIT": "400"}, "demo", "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "darkroom: settings: SOFT_TIME_LIMIT must be less than TIME_LIMIT\n"


def test_missing_address_is_named_in_one_line(environment: Mapping[str, str]) -> None:
    """A migration needs the address of the database, and no other setting."""
    done = darkroom(environment, "migrate")
    assert done.returncode == 2
    assert done.stderr == "darkroom: settings: DATABASE_URL is not set\n"


def test_what_a_migration_has_to_say_is_logged(
    environment: Mapping[str, str], postgres: EmbeddedPostgres
) -> None:
    """As JSON, apart from the answer, which a program may read."""
    url = postgres.create_database("newer", template="migrated")
    try:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE darkroom_alembic_version SET version_num = '9999'")
            connection.commit()
        done = darkroom({**environment, "DATABASE_URL": url}, "migrate")
    finally:
        postgres.drop_database("newer")
    assert (done.returncode, done.stdout) == (0, "database is at revision 9999\n")
    line = json.loads(done.stderr)
    assert line["event"] == "the database is newer than this code"
    assert (line["level"], line["runtime"]) == ("warning", "migrate")


def test_a_migration_beside_tables_of_the_same_names_is_refused(
    environment: Mapping[str, str], postgres: EmbeddedPostgres
) -> None:
    """In one line that names them."""
    url = postgres.create_database("taken")
    try:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE users (id int)")
            connection.commit()
        done = darkroom({**environment, "DATABASE_URL": url}, "migrate")
    finally:
        postgres.drop_database("taken")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "darkroom: PostgreSQL: the schema public already holds tables of other programs: users; "
        "give Darkroom a database or a schema of its own\n"
    )


def test_migrations_at_once_and_a_sweep(environment: Mapping[str, str]) -> None:
    """Both migrations reach the same revision; the sweep sends an envelope that was never sent."""
    with embedded_stack() as stack:
        given = {**environment, **stack.environment}
        early = darkroom(given, "sweep")
        assert early.returncode == 2
        assert "was `darkroom migrate` run?" in early.stderr
        both = [
            subprocess.Popen(command("migrate"), env=given, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        answers = {process.communicate(timeout=PATIENCE_SECONDS)[0] for process in both}
        assert [process.returncode for process in both] == [0, 0]
        assert re.fullmatch(r"database is at revision \w+\n", answers.pop())
        assert not answers

        settings = Settings(
            database_url=stack.environment["DATABASE_URL"], redis_url=stack.environment["REDIS_URL"]
        )
        with build_services(settings) as services:
            services.jobs.insert(NewJob("default", None, None, {"prompt": "A mug"}, 3))
            services.releases.note_worker("host:1", 2, "0", 600)
        swept = darkroom(given, "sweep")
        assert swept.returncode == 0
        assert swept.stdout == "revived 0, ended 0, dispatched 1, announced 0\n"


def test_parity_of_one_scenario(environment: Mapping[str, str]) -> None:
    """Settings of the environment do not count; the table is Markdown for the docs."""
    done = darkroom(
        {**environment, "DATABASE_URL": "postgresql://nowhere/none", "MAX_ATTEMPTS": "1"},
        *("parity", "--markdown", "--scenario", "fails-once"),
    )
    assert (done.returncode, done.stderr) == (0, "1 scenario, no difference\n")
    assert done.stdout.splitlines()[-1].endswith("| yes |")


def test_help_names_every_command(environment: Mapping[str, str]) -> None:
    """Without arguments the program says what it can do."""
    done = darkroom(environment)
    local = ("demo", "up", "parity", "migrate", "sweep", "keys", "limits", "pause", "resume")
    for name in (*local, "generate", "jobs", "show", "follow", "cancel"):
        assert f"  {name} " in done.stdout + done.stderr

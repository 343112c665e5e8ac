"""Log lines: one JSON object each, with ids and without secrets, from every library."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from shared.logs import configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give the stream that every logger of this process writes to, for one test."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("celery", "INFO", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines written so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_lines_and_those_of_libraries_are_one_json_object_each(stream: io.StringIO) -> None:
    """Level, time, runtime and text stand in every line."""
    structlog.get_logger("ours").warning("job\nrecovered", count=2)
    logging.getLogger("theirs").warning("lost %s", "it")
    ours, theirs = read(stream)
    assert (ours["event"], ours["count"]) == ("job\nrecovered", 2)
    assert theirs["event"] == "lost it"
    for line in (ours, theirs):
        assert (line["level"], line["runtime"]) == ("warning", "celery")
        assert line["timestamp"].endswith("Z")


def test_the_ids_of_a_job_stand_in_every_line_of_its_attempt(stream: io.StringIO) -> None:
    """Also in those of Celery, SQLAlchemy and an SDK."""
    with bound_contextvars(job_id="j", task_id="t", attempt=2):
        structlog.get_logger("ours").info("step")
        logging.getLogger("theirs").info("step")
    logging.getLogger("theirs").info("after")
    *inside, after = read(stream)
    for line in inside:
        assert (line["job_id"], line["task_id"], line["attempt"]) == ("j", "t", 2)
    assert "job_id" not in after


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    """INFO is the least here; talkative libraries are held to WARNING."""
    structlog.get_logger("ours").debug("no")
    logging.getLogger("theirs").debug("no")
    logging.getLogger("botocore.auth").info("no")
    logging.getLogger("botocore.auth").warning("yes")
    assert [line["event"] for line in read(stream)] == ["yes"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg2://u:s3cret@db/shop", "postgresql+psycopg2://***@db/shop"),
        ("redis://:s3cret@cache:6379/0 is down", "redis://***@cache:6379/0 is down"),
        ("redis://:s3c@ret@cache:6379/0", "redis://***@cache:6379/0"),
        ("GET https://cdn/a.png?X-Sig=s3cret HTTP", "GET https://cdn/a.png HTTP"),
        ("GET /v1/images/1?token=s3cret&x=1", "GET /v1/images/1"),
        ("'https://a/b?s3cret' and https://u:s3cret@c/d", "'https://a/b' and https://***@c/d"),
        ("is 1/2 ok? yes, mail a@b.c", "is 1/2 ok? yes, mail a@b.c"),
    ],
)
def test_passwords_and_query_strings_are_taken_out(
    stream: io.StringIO, text: str, shown: str
) -> None:
    """Wherever they stand: in the text, in a value, in a library's line."""
    structlog.get_logger("ours").info(text, reason=text)
    logging.getLogger("theirs").info("%s", text)
    ours, theirs = read(stream)
    assert [ours["event"], ours["reason"], theirs["event"]] == [shown] * 3


def test_secrets_inside_structured_values_are_taken_out(stream: io.StringIO) -> None:
    """A list or mapping of addresses is scrubbed as a single one is."""
    urls = ["redis://:s3cret@h", {"u": ("/a?s3cret=1",)}]
    structlog.get_logger("ours").info("connected", urls=urls)
    assert "s3cret" not in stream.getvalue()
    assert read(stream)[0]["urls"] == ["redis://***@h", {"u": ["/a"]}]


def test_an_exception_is_part_of_its_line(stream: io.StringIO) -> None:
    """The traceback stays inside the object, scrubbed like the rest."""
    try:
        raise ValueError("at redis://:s3cret@h/0")
    except ValueError:
        structlog.get_logger("ours").exception("broke")
        logging.getLogger("theirs").exception("broke")
    for line in read(stream):
        assert "ValueError: at redis://***@h/0" in line["exception"]
        assert line["level"] == "error"
        assert line["event"] == "broke"
    assert "s3cret" not in stream.getvalue()


def test_values_that_json_does_not_know_are_described(stream: io.StringIO) -> None:
    """A line is never lost to the type of a value."""
    structlog.get_logger("ours").info("seen", job=UUID(int=1), kinds={"a"})
    assert str(UUID(int=1)) in read(stream)[0]["job"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_text_can_be_logged_whatever_the_encoding_of_the_output(encoding: str) -> None:
    """Neither a lone surrogate from an envelope nor a bare locale ends the program."""
    program = r"""
import logging, structlog
from shared.logs import configure_logging
configure_logging("lambda", "INFO")
structlog.get_logger().info("né 像", job_id="\ud800")
logging.getLogger("x").info("né 像 \udcff")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONPATH": "."},
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    ours, theirs = (json.loads(line) for line in done.stdout.decode(encoding).splitlines())
    assert ours["event"] == "né 像"
    assert ours["job_id"] == "\ud800"
    assert theirs["event"].startswith("né 像")

"""`python -m devkit.lambda_host` as a whole: its start, its schedule and all its ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.lambda_host import (
    FUNCTIONS,
    OBEY,
    PATIENCE_SECONDS,
    Host,
    Queue,
    is_alive,
    new_queue,
    sqs_server,
)
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def sqs_url() -> Iterator[str]:
    """The address of a moto server."""
    with sqs_server() as url:
        yield url


@pytest.fixture
def queue(sqs_url: str) -> Iterator[Queue]:
    """A queue of this test's own."""
    with new_queue(sqs_url) as queue:
        yield queue


@pytest.fixture
def start_host(queue: Queue, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Start hosts on the queue; whatever still runs after the test is killed."""
    hosts: list[Host] = []

    def start(*arguments: str, **settings: str) -> Host:
        environment = {
            **os.environ,
            "DATABASE_URL": "postgresql://unused",
            "REDIS_URL": "redis://unused",
            "QUEUE_URL": queue.url,
            "LOG_LEVEL": "DEBUG",
            "MARK_FILE": str(tmp_path / "marks"),
            **settings,
        }
        command = [sys.executable, "-m", "devkit.lambda_host", "--worker", OBEY]
        command += ["--reaper", f"{FUNCTIONS}.mark", *arguments]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        hosts.append(Host(process))
        wait_until(
            lambda: hosts[-1].says("lambda host ready"), PATIENCE_SECONDS, "the host is not ready"
        )
        return hosts[-1]

    yield start
    for host in hosts:
        host.process.kill()
        host.process.wait()
        wait_until(host.has_no_sandbox, PATIENCE_SECONDS, "a sandbox outlives its host")


def test_a_stopping_host_waits_for_what_runs(
    queue: Queue, start_host: Callable[..., Host], tmp_path: Path
) -> None:
    """The running invocation ends as always, its message is deleted, nothing is left behind."""
    host = start_host()
    queue.send({"do": "hold", "folder": str(tmp_path)})
    wait_until(
        lambda: list(tmp_path.glob("running-*")), PATIENCE_SECONDS, "the function does not run"
    )
    host.process.send_signal(signal.SIGTERM)
    wait_until(
        lambda: host.says("lambda host stopping"), PATIENCE_SECONDS, "the host ignores SIGTERM"
    )
    queue.send({"do": "keep", "file": str(tmp_path / "record")})
    (tmp_path / "go-on").touch()
    assert host.process.wait(timeout=PATIENCE_SECONDS) == 0
    assert list(tmp_path.glob("done-*"))
    assert not (tmp_path / "record").exists()
    assert queue.size() == 1
    assert not host.sandbox_pids()


def test_what_runs_longer_than_the_grace_gets_sigterm_and_may_still_answer(
    queue: Queue, start_host: Callable[..., Host], tmp_path: Path
) -> None:
    """A function that obeys SIGTERM in time ends as always, and its answer counts."""
    host = start_host(SHUTDOWN_GRACE_SECONDS="0.2")
    queue.send({"do": "hold", "folder": str(tmp_path), "ends_on_sigterm": True})
    wait_until(
        lambda: list(tmp_path.glob("running-*")), PATIENCE_SECONDS, "the function does not run"
    )
    assert host.stop(signal.SIGTERM) == 0
    assert list(tmp_path.glob("done-*"))
    assert queue.is_empty()


def test_what_runs_longer_than_the_grace_is_ended_and_its_message_kept(
    queue: Queue, start_host: Callable[..., Host], tmp_path: Path
) -> None:
    """A function that knows no SIGTERM dies of it; its message comes back later."""
    host = start_host(SHUTDOWN_GRACE_SECONDS="0.2")
    queue.send({"do": "hold", "folder": str(tmp_path)})
    wait_until(
        lambda: list(tmp_path.glob("running-*")), PATIENCE_SECONDS, "the function does not run"
    )
    assert host.stop(signal.SIGTERM) == 0
    assert not host.sandbox_pids()
    assert not queue.is_empty()


def test_a_second_signal_ends_the_host_at_once(
    queue: Queue, start_host: Callable[..., Host], tmp_path: Path
) -> None:
    """The grace of a minute is cut short."""
    host = start_host()
    queue.send({"do": "hold", "folder": str(tmp_path)})
    wait_until(
        lambda: list(tmp_path.glob("running-*")), PATIENCE_SECONDS, "the function does not run"
    )
    host.process.send_signal(signal.SIGINT)
    wait_until(
        lambda: host.says("lambda host stopping"), PATIENCE_SECONDS, "the host ignores SIGINT"
    )
    assert host.stop(signal.SIGINT) == 0
    assert not host.sandbox_pids()


def test_a_killed_host_leaves_no_process_behind(
    queue: Queue, start_host: Callable[..., Host], tmp_path: Path
) -> None:
    """Neither a running function nor a frozen one outlives it."""
    host = start_host()
    queue.send({"do": "hold", "folder": str(tmp_path)})
    wait_until(
        lambda: list(tmp_path.glob("running-*")), PATIENCE_SECONDS, "the function does not run"
    )
    wait_until((tmp_path / "marks").exists, PATIENCE_SECONDS, "the reaper has not run")
    pids = host.sandbox_pids()
    assert len(pids) == 2
    host.stop(signal.SIGKILL)
    wait_until(
        lambda: not any(is_alive(pid) for pid in pids), PATIENCE_SECONDS, "a process is left"
    )


def test_the_reaper_runs_at_start_and_then_on_schedule(
    start_host: Callable[..., Host], tmp_path: Path
) -> None:
    """Each SWEEP_SECONDS, in one process that is kept; all output is JSON, one object a line.

    The housekeeping runs in another process, and webhooks in a third.
    """
    host = start_host(SWEEP_SECONDS="0.2")
    marks = tmp_path / "marks"

    def lines_with(what: str) -> list[str]:
        lines = marks.read_text().splitlines() if marks.exists() else []
        return [line for line in lines if line.endswith(what)]

    wait_until(lambda: len(lines_with("housekeeping")) >= 2, PATIENCE_SECONDS, "no housekeeping")
    assert len(lines_with("Scheduled Event")) >= 3
    for what in ("Scheduled Event", "housekeeping", "webhooks"):
        assert len(set(lines_with(what))) == 1
    assert len({line.split()[0] for line in lines_with("")}) == 3
    host.stop(signal.SIGTERM)
    ended = [json.loads(line) for line in host.lines]
    assert {"aws_request_id", "function", "error_type", "duration_ms", "pid"} <= next(
        event.keys() for event in ended if event["event"] == "invocation ended"
    )


def test_a_host_without_a_queue_says_so_in_one_line() -> None:
    """Exit code 2, and the setting is named."""
    environment = {key: value for key, value in os.environ.items() if key != "QUEUE_URL"}
    environment |= {"DATABASE_URL": "postgresql://unused", "REDIS_URL": "redis://unused"}
    ended = subprocess.run(
        [sys.executable, "-m", "devkit.lambda_host"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == "settings: QUEUE_URL is not set\n"

"""Celery's own commands mean for a job what their users expect."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.celery_broker import JOB_QUEUE, TASK_NAME, broker_url
from shared.jobs.model import Job
from tests.support.faults import other_settings, paused_provider
from tests.support.runtime import Rows, Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

LONG_AGO = "2026-01-01T00:00:00Z"

NO_LIMITS = {"SOFT_TIME_LIMIT": "60", "TIME_LIMIT": "90"}
"""The command takes seconds to start."""

Run = Callable[..., str]


@pytest.fixture
def celery(celery_runtime: Runtime) -> Run:
    """Give the command `celery` of a program that knows only the address of Redis."""
    url = broker_url(celery_runtime.settings.redis_url)
    command = [sys.executable, "-m", "celery", "--broker", url]

    def run(*words: str) -> str:
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60)
        return done.stdout

    return run


def assert_cancelled(rows: Rows) -> None:
    """Check that a job was cancelled, and by no accident."""
    assert (rows.job["status"], rows.job["error"]["code"]) == ("FAILED", "cancelled")


def test_revoke_cancels_a_job_that_waits(celery_runtime: Runtime, celery: Run) -> None:
    """By the task id of its row; no attempt begins."""
    with paused_provider(celery_runtime):
        job = celery_runtime.submit("a mug")
        celery("control", "revoke", job.task_id)
        rows = celery_runtime.finish(job)
    assert_cancelled(rows)
    assert outcomes(rows) == []


def test_revoke_cancels_a_job_that_runs(celery_runtime: Runtime, celery: Run) -> None:
    """It stops at its next step or extension."""
    with other_settings(celery_runtime, **NO_LIMITS):
        job = celery_runtime.submit("a mug [[hang]]")
        celery_runtime.wait_for_step(job, 30)
        celery("control", "revoke", job.task_id)
        assert_cancelled(celery_runtime.finish(job))


def test_revoke_with_terminate_ends_the_process_of_a_message(
    celery_runtime: Runtime, celery: Run
) -> None:
    """As the button of Flower does, which knows the message's id; the worker goes on."""
    with other_settings(celery_runtime, **NO_LIMITS):
        job = celery_runtime.submit("a mug [[block]]")
        celery_runtime.wait_for_step(job, 30)
        envelope_id = celery_runtime.rows(job).job["envelope_id"]
        celery("control", "terminate", "SIGKILL", envelope_id)
        assert_cancelled(celery_runtime.finish(job))
        assert outcomes(celery_runtime.finish(celery_runtime.submit("a mug"))) == ["completed"]


def send_expired(celery: Run, job: Job) -> None:
    """Send a message of the job whose time has passed."""
    args = json.dumps([str(job.id)])
    celery("call", TASK_NAME, "--args", args, "--queue", JOB_QUEUE, "--expires", LONG_AGO)


def test_a_message_that_expires_cancels_a_job_that_has_not_begun(
    celery_runtime: Runtime, celery: Run
) -> None:
    """One that has begun was in time."""
    with paused_provider(celery_runtime):
        waiting = celery_runtime.submit("a mug")
        send_expired(celery, waiting)
        assert_cancelled(celery_runtime.finish(waiting))
    running = celery_runtime.submit("a mug [[slow:1.5]]")
    celery_runtime.wait_for_step(running, 10)
    send_expired(celery, running)
    assert outcomes(celery_runtime.finish(running)) == ["completed"]


def test_the_events_of_tasks_say_how_their_jobs_ended(
    celery_runtime: Runtime, celery: Run, tmp_path: Path
) -> None:
    """Flower shows them: a failed job is a failed task, one that is tried again a retried one."""
    celery("control", "enable_events")
    url = broker_url(celery_runtime.settings.redis_url)
    command = [sys.executable, "-u", "-m", "celery", "--broker", url, "events", "--dump"]
    seen = tmp_path / "events"
    with seen.open("w") as output, subprocess.Popen(command, stdout=output) as dump:
        try:
            wait_until(lambda: "heartbeat" in seen.read_text(), 30, "events of the worker")
            for prompt, kind in (
                ("a mug", "succeeded"),
                ("a mug [[reject]]", "failed"),
                ("a mug [[fail:1]]", "retried"),
            ):
                assert_shown(celery_runtime, prompt, kind, seen)
        finally:
            dump.terminate()
            celery("control", "disable_events")


def assert_shown(runtime: Runtime, prompt: str, kind: str, seen: Path) -> None:
    """Run a job, and check how the delivery of its first envelope ends in the events."""
    job = runtime.submit(prompt)
    envelope_id = runtime.rows(job).job["envelope_id"]
    runtime.finish(job)

    def is_shown() -> bool:
        lines = seen.read_text().lower().splitlines()
        return any(kind in line and envelope_id in line for line in lines)

    wait_until(is_shown, 10, f"{prompt} to be {kind}")


def test_inspect_answers(celery_runtime: Runtime, celery: Run) -> None:
    """Also with the worker's configuration."""
    answer = celery("inspect", "--timeout", "5", "--json", "conf")
    (configuration,) = json.loads(answer).values()
    assert configuration["task_acks_late"] is True


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_are_refused_in_one_line(celery_runtime: Runtime, pool: str) -> None:
    """Limits, leases and cancelling need a process for each job."""
    command = [sys.executable, "-m", "celery", "-A", "local.celery_app", "worker", "-P", pool]
    done = subprocess.run(
        command, env=celery_runtime.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "superuser" not in line]
    assert lines[-1].startswith("darkroom: jobs need processes of their own")
    assert "Traceback" not in done.stderr


def test_workers_neither_greet_nor_follow_each_other(celery_runtime: Runtime) -> None:
    """Whatever options they were started with: both end a worker while Redis comes back."""
    assert not [line for line in celery_runtime.log_lines() if "mingle" in str(line["event"])]

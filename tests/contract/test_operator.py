"""What operators ask on the command line is answered from the rows, in any runtime."""

import json
from typing import Any

import pytest

from cli.operator import seconds_since
from shared.errors import InvalidRequest
from tests.support.cli import darkroom
from tests.support.runtime import SLOTS, Runtime
from tests.support.wait import wait_until


def items(runtime: Runtime, *words: str) -> list[dict[str, Any]]:
    """Return the items that a command prints."""
    done = darkroom(runtime.environment, *words, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


def lines(runtime: Runtime, *words: str) -> list[str]:
    """Return the lines of the table that a command prints."""
    return darkroom(runtime.environment, *words).stdout.splitlines()


def test_queue_shows_who_waits_and_who_runs(runtime: Runtime) -> None:
    """By workspace, with the age of the oldest."""
    assert items(runtime, "queue") == []
    with runtime.paused():
        jobs = [runtime.submit("[[slow:1]] a mug") for _ in range(SLOTS * 2 + 1)]
        [found] = items(runtime, "queue")
        assert (found["workspace_id"], found["released"] + found["due"]) == ("default", len(jobs))
        assert found["oldest_waiting_seconds"] >= 0
        assert lines(runtime, "queue")[1].split()[0] == "default"
    for job in jobs:
        runtime.services.cancel(job.id)
        runtime.finish(job)
    assert items(runtime, "queue") == []


def test_queue_is_shown_by_provider(runtime: Runtime) -> None:
    """A job that names no model is for the default provider."""
    with runtime.paused():
        jobs = [runtime.submit("a mug") for _ in range(2)]
        [found] = items(runtime, "queue", "--by", "provider")
        assert (found["provider"], found["released"] + found["due"]) == ("mock", len(jobs))
        [found] = items(runtime, "queue", "--by", "workspace,provider")
        assert (found["workspace_id"], found["provider"]) == ("default", "mock")
        assert darkroom(runtime.environment, "pause", "--provider", "mock").returncode == 0
        [found] = items(runtime, "queue", "--by", "provider")
        assert (found["is_paused"], found["due"]) == (True, 0)
        assert darkroom(runtime.environment, "resume", "--provider", "mock").returncode == 0
        assert darkroom(runtime.environment, "pause", "--workspace", "default").returncode == 0
        [found] = items(runtime, "queue", "--by", "provider")
        assert found["is_paused"] is False
        [found] = items(runtime, "queue", "--by", "provider,workspace")
        assert found["is_paused"] is True
        assert darkroom(runtime.environment, "resume", "--workspace", "default").returncode == 0
    for job in jobs:
        runtime.services.cancel(job.id)
        runtime.finish(job)


def test_jobs_of_all_workspaces_are_listed(runtime: Runtime) -> None:
    """Newest first, by what is asked for; read from the database, with no key."""
    runtime.services.keys.create("other-shop", "x", makes_workspace=True)
    jobs = [
        runtime.submit("a mug"),
        runtime.submit("[[reject]] a cup", workspace_id="other-shop"),
        runtime.submit("a plate"),
    ]
    for job in jobs:
        runtime.finish(job)
    found = items(runtime, "jobs", "--all-workspaces")
    assert [row["id"] for row in found] == [str(job.id) for job in reversed(jobs)]
    assert [row["workspace_id"] for row in found] == ["default", "other-shop", "default"]
    [failed] = items(runtime, "jobs", "--all-workspaces", "--status", "failed")
    assert (failed["id"], failed["code"]) == (str(jobs[1].id), "prompt_rejected")
    assert len(items(runtime, "jobs", "--all-workspaces", "--limit", "2")) == 2
    assert items(runtime, "jobs", "--all-workspaces", "--product", "none") == []
    assert lines(runtime, "jobs", "--all-workspaces")[1].split()[1] == "default"


def test_workers_are_listed_with_slots_and_versions(runtime: Runtime) -> None:
    """Those of this runtime are counted."""
    counted = wait_until(
        lambda: [each for each in items(runtime, "workers") if each["is_counted"]], 30, "a worker"
    )
    assert sum(worker["slots"] for worker in counted) == SLOTS
    assert all(worker["version"] and worker["seen_at"] for worker in counted)


def test_failures_and_costs_are_counted_by_what_is_asked(runtime: Runtime) -> None:
    """Within the time that is asked for."""
    for prompt in ("[[reject]] one", "[[reject]] two", "a mug"):
        runtime.finish(runtime.submit(prompt))
    [failed] = items(runtime, "failures", "--since", "1h")
    assert (failed["code"], failed["provider"], failed["jobs"]) == ("prompt_rejected", "mock", 2)
    [failed] = items(runtime, "failures", "--by", "workspace")
    assert (failed["workspace"], failed["jobs"], "code" in failed) == ("default", 2, False)
    with runtime.database() as cursor:
        cursor.execute(
            "UPDATE generation_attempts SET charge_state = 'charged', price_microdollars = 40000"
            " WHERE outcome = 'completed'"
        )
    [cost] = items(runtime, "costs", "--since", "1h")
    assert (cost["workspace"], cost["price_microdollars"], cost["charged_calls"]) == (
        *("default", 40_000, 1),
    )
    assert cost["model"]
    with runtime.database() as cursor:
        cursor.execute("UPDATE generation_jobs SET finished_at = now() - interval '2 hours'")
        cursor.execute("UPDATE generation_attempts SET finished_at = now() - interval '2 hours'")
    assert items(runtime, "failures", "--since", "1h") == []
    assert items(runtime, "costs", "--since", "1h") == []


def test_stuck_jobs_are_named_with_the_reason(runtime: Runtime) -> None:
    """Those that the sweep should have moved on; none in a runtime that works."""
    with runtime.paused():
        job = runtime.accept("a mug")
        with runtime.database() as cursor:
            cursor.execute("UPDATE generation_jobs SET next_attempt_at = now() - interval '1 hour'")
        [stuck] = items(runtime, "stuck")
        assert (stuck["job_id"], stuck["reason"]) == (str(job.id), "retry overdue")
        assert stuck["seconds"] >= 3600
    runtime.finish(job)
    assert items(runtime, "stuck") == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("failures", "--since", "soon"), "--since: must be 90s, 30m, 1h, 7d, today or a time"),
        (("costs", "--by", "colour"), "--by: must name some of workspace, provider, model"),
    ],
)
def test_a_mistake_is_named_in_one_line(
    runtime: Runtime, words: tuple[str, ...], line: str
) -> None:
    """With the exit code of usage."""
    done = darkroom(runtime.environment, *words)
    assert (done.returncode, done.stdout, line in done.stderr) == (2, "", True)


def test_times_are_ages_dates_or_today() -> None:
    """None lies in the future."""
    assert seconds_since("90s") == 90
    assert seconds_since("7d") == 7 * 86_400
    assert 0 <= seconds_since("today") <= 25 * 3600
    assert seconds_since("9999-01-01") == 0
    with pytest.raises(InvalidRequest):
        seconds_since("1w")

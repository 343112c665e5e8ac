"""What a runtime writes: one JSON object a line, with the ids of its job.

`tests.support.tidiness` checks after every test that no line holds a secret.
"""

from collections.abc import Mapping
from typing import Any

from shared.jobs.model import Job
from tests.support.faults import cut_connections_of
from tests.support.logs import logged_by
from tests.support.runtime import Runtime
from tests.support.story import lines_of
from tests.support.wait import wait_until

OTHER_SOURCES = (
    *("shared/generation/sweep.py", "shared/generation/delete.py", "shared/generation/release.py"),
    *("shared/metrics", "shared/webhooks", "functions/reaper.py", "functions/metrics.py"),
    *("devkit/lambda_host", "local/worker/sweeping.py", "local/worker/envelopes.py"),
    "local/metrics.py",
)
"""What other processes run meanwhile: the sweep, the housekeeping, webhooks, the Lambda host."""

OF_OTHER_PROCESSES = ("nothing to run", "envelope rejected", "bill", "Process 'ForkPoolWorker-")
"""How more lines begin that the other slot over envelopes of earlier tests, and a parent over
children that earlier tests have killed may write meanwhile."""


def test_every_line_of_a_running_job_carries_its_ids(runtime: Runtime) -> None:
    """Those of both attempts, their libraries and the thread that keeps the lease among them."""
    logged, others = len(runtime.log_lines()), len(runtime.log.other_lines())
    job = runtime.submit("a mug [[fail:1]] [[slow:2]]")
    runtime.wait_for_step(job, 30, attempt=2)
    pid = runtime.worker_pid(job)

    def lease_is_not_extended() -> bool:
        # One cut may be too late for the last extension.
        cut_connections_of(runtime, pid)
        return lines_of(runtime, job, "lease not extended") != []

    wait_until(lease_is_not_extended, 10, "the thread that keeps the lease to notice")
    runtime.finish(job)
    wait_until(lambda: len(lines_of(runtime, job, "attempt ended")) == 2, 10, "the last line")
    lines = runtime.log_lines()[logged:]
    first, second = [lines_of_attempt(lines, job, number) for number in (1, 2)]
    assert [line["event"] for line in first] == [
        "attempt started",
        "attempt failed",
        "attempt ended",
    ]
    assert {line["event"] for line in second} >= {"attempt started", "lease not extended"}
    for number, line in [(1, line) for line in first] + [(2, line) for line in second]:
        ids = {name: line.get(name) for name in ("job_id", "task_id", "attempt", "runtime")}
        assert ids == {
            "job_id": str(job.id),
            "task_id": job.task_id,
            "attempt": number,
            "runtime": runtime.process.runtime,
        }, f"ids are missing: {line}"
    assert runtime.log.other_lines()[others:] == []


def lines_of_attempt(
    lines: list[Mapping[str, Any]], job: Job, number: int
) -> list[Mapping[str, Any]]:
    """Return all lines from the start of an attempt to its end, from any library."""
    edges = [
        index
        for index, line in enumerate(lines)
        if (line.get("job_id"), line.get("attempt")) == (str(job.id), number)
        and line.get("event") in ("attempt started", "attempt ended")
    ]
    start, end = edges
    others = logged_by(*OTHER_SOURCES)
    return [
        line
        for line in lines[start : end + 1]
        if not str(line.get("event")).startswith(OF_OTHER_PROCESSES) and line["event"] not in others
    ]

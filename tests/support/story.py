"""What an observer sees of one job, and what of it is promised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.jobs.model import Job
from shared.status import COMPLETED, PREPARING, QUEUED, SAVING, STARTING, Step, rendering
from tests.support.runtime import Rows, Runtime

RUN = [STARTING, PREPARING, *(rendering(progress) for progress in (30, 50, 70, 90)), SAVING]
"""The steps of an attempt that meets no trouble, but for its end."""

RUN_WITHOUT_PROVIDER = [STARTING, PREPARING, SAVING]
"""The steps of an attempt that finds all its pictures stored."""

PLAIN = [QUEUED, *RUN, COMPLETED]


@dataclass(frozen=True)
class Story:
    """All that anybody can know of a job: compared whole, to see that nothing has changed."""

    rows: Rows
    steps: list[Step]
    record: Mapping[str, Any] | None
    messages: list[str]


def story_of(runtime: Runtime, job: Job) -> Story:
    """Read all that is known of a job now."""
    return Story(
        runtime.rows(job),
        runtime.steps(job),
        runtime.record(job),
        runtime.channel.of(job.task_id),
    )


def outcomes(rows: Rows) -> list[str | None]:
    """Return how the attempts of a job ended, first to last."""
    return [attempt["outcome"] for attempt in rows.attempts]


def storage_keys(rows: Rows) -> list[str]:
    """Return where the pictures of a job lie, by position."""
    return [image["storage_key"] for image in rows.images]


def stored_keys(runtime: Runtime, job: Job) -> list[str]:
    """Return where the pictures lie that a job's next attempt would find."""
    return [image.storage_key for image in runtime.services.image_store.find_saved(job.id)]


def lines_of(runtime: Runtime, job: Job, event: str) -> list[Mapping[str, Any]]:
    """Return the log lines of one job that say this."""
    said = [line for line in runtime.log_lines() if line.get("event") == event]
    return [line for line in said if line.get("job_id") == str(job.id)]


def refusals(runtime: Runtime, job: Job) -> int:
    """Return how many envelopes of the job found nothing to run."""
    return len(lines_of(runtime, job, "nothing to run"))

"""AWS Lambda entry: the sweep, on a schedule. Handler `functions.reaper.handler`."""

from dataclasses import asdict
from typing import Any

from functions import metrics
from functions.container import build_container
from shared import __version__

OWNER = "lambda"
"""All functions together are one worker: Lambda starts as many as MaximumConcurrency allows."""

COUNTED_SECONDS = 24 * 3600.0
"""Lambda is there, whether this function runs or not."""

container = build_container()


def handler(_event: Any, _context: Any) -> dict[str, int]:
    """Finish what others left undone; answer with what was done.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached; the next run sees to it.
    """
    services = container.services
    slots = container.settings.lambda_concurrency
    services.releases.note_worker(OWNER, slots, __version__, COUNTED_SECONDS)
    report = services.sweep()
    name = container.settings.aws_lambda_function_name or OWNER
    metrics.report_ended(services.jobs.count_ended(), name)
    return asdict(report)

"""AWS Lambda entry: the sweep, the housekeeping and webhooks, each on a schedule of its own.

Handler `functions.reaper.handler`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from functions import metrics
from functions.container import build_container
from shared import __version__, tracing

if TYPE_CHECKING:
    from shared.webhooks.sender import WebhookSender

OWNER = "lambda"
"""All functions together are one worker: Lambda starts as many as MaximumConcurrency allows."""

COUNTED_SECONDS = 24 * 3600.0
"""Lambda is there, whether this function runs or not."""

container = build_container()


@cache
def sender() -> "WebhookSender":
    """Make what sends webhooks at its first use: the other runs need no HTTP client."""
    from shared.api.webhook_bodies import DeliveredJobs

    delivered = DeliveredJobs(container.services.views, container.settings)
    return container.services.build_webhook_sender(delivered.show)


def handler(event: Any, _context: Any) -> dict[str, int]:
    """Finish what others left undone; answer with what was done.

    The event `{"work": "housekeeping"}` deletes what is of no use any more instead, and
    `{"work": "webhooks"}` sends deliveries.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached; the next run sees to it.
    """
    try:
        return _do(event.get("work") if isinstance(event, Mapping) else None)
    finally:
        tracing.flush()


def _do(work: object) -> dict[str, int]:
    services = container.services
    if work == "housekeeping":
        return services.deleter.tidy()
    if work == "webhooks":
        return {"tries": sender().send_due()}
    slots = container.settings.lambda_concurrency
    services.releases.note_worker(OWNER, slots, __version__, COUNTED_SECONDS)
    report = services.sweep()
    name = container.settings.aws_lambda_function_name or OWNER
    metrics.report_ended(services.jobs.count_ended(), name)
    metrics.report_state(services.metrics.read(), services.metrics.spent(), name)
    return asdict(report)

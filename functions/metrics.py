"""The metrics of Darkroom for CloudWatch: lines in the embedded metric format.

`functions.reaper` counts and reports. Prometheus reads the same numbers from the API or a worker of
the local runtime, or from `darkroom metrics --serve`.

CloudWatch reads them from the log of a function [CloudWatch User Guide, "Specification: Embedded
metric format"]. They are no lines of the log, so LOG_LEVEL does not leave them out.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.metrics.store import Sample, Spent

NAMESPACE = "Darkroom"

REFUSALS = frozenset({"prompt_rejected", "output_rejected", "invalid_request", "cost_limit"})
"""Error codes that are the client's matter."""

_GAUGES = {
    "darkroom_jobs_open": ("JobsOpen", "Count"),
    "darkroom_oldest_pending_seconds": ("OldestPendingSeconds", "Seconds"),
    "darkroom_webhooks": ("Webhooks", "Count"),
    "darkroom_webhook_deliveries_waiting": ("WebhookDeliveriesWaiting", "Count"),
    "darkroom_webhook_oldest_waiting_seconds": ("WebhookOldestWaitingSeconds", "Seconds"),
}
"""What changes without an end of a job, by its name in Prometheus."""


def report_ended(jobs: Mapping[str | None, int], function_name: str) -> None:
    """Write how many jobs ended, failed and were refused; nothing if none ended.

    Args:
        jobs: The number of jobs by error code; None is the code of success.
        function_name: The dimension of the metrics, as one account may hold several stacks.
    """
    for line in _lines(jobs, function_name):
        _write(line)
    sys.stdout.flush()


def report_state(samples: Iterable[Sample], spent: Spent, function_name: str) -> None:
    """Write what is open now, and what the attempts that ended in the last minute were charged.

    Args:
        samples: All numbers of `MetricStore.read`; those that only grow are left out, as CloudWatch
            sums up by itself.
        spent: Of the last full minute.
        function_name: The dimension of the metrics.
    """
    function = {"FunctionName": function_name}
    for sample in samples:
        if sample.name in _GAUGES:
            name, unit = _GAUGES[sample.name]
            labels = {label.title(): value for label, value in sample.labels.items()}
            _write(_line({name: sample.value}, {**function, **labels}, unit))
    if spent.calls:
        _write(_line({"CostMicrodollars": spent.microdollars}, function))
        for state, count in spent.calls.items():
            _write(_line({"ProviderCalls": count}, {**function, "ChargeState": state}))
    sys.stdout.flush()


def _write(line: Mapping[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")


def _lines(jobs: Mapping[str | None, int], function_name: str) -> Iterator[dict[str, Any]]:
    ended = {code: count for code, count in jobs.items() if code != "cancelled"}
    if not ended:
        return
    failed = {code: count for code, count in ended.items() if code is not None}
    refused = sum(count for code, count in failed.items() if code in REFUSALS)
    totals = {
        "JobsEnded": sum(ended.values()),
        "JobsFailed": sum(failed.values()),
        "JobsRefused": refused,
    }
    function = {"FunctionName": function_name}
    yield _line(totals, function)
    for code, count in failed.items():
        yield _line({"JobsFailed": count}, {**function, "Code": str(code)})


def _line(
    metrics: Mapping[str, float], dimensions: Mapping[str, str], unit: str = "Count"
) -> dict[str, Any]:
    definition = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name in metrics],
    }
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [definition]}
    return {"_aws": about, **dimensions, **metrics}

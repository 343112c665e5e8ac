"""How jobs end, as metrics of CloudWatch: lines in the embedded metric format.

CloudWatch reads them from the log of a function [CloudWatch User Guide, "Specification: Embedded
metric format"]. They are no lines of the log, so LOG_LEVEL does not leave them out.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

NAMESPACE = "Darkroom"

REFUSALS = frozenset({"prompt_rejected", "output_rejected", "invalid_request", "cost_limit"})
"""Error codes that are the client's matter."""


def report_ended(jobs: Mapping[str | None, int], function_name: str) -> None:
    """Write how many jobs ended, failed and were refused; nothing if none ended.

    Args:
        jobs: The number of jobs by error code; None is the code of success.
        function_name: The dimension of the metrics, as one account may hold several stacks.
    """
    for line in _lines(jobs, function_name):
        sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


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


def _line(metrics: Mapping[str, int], dimensions: Mapping[str, str]) -> dict[str, Any]:
    definition = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
    }
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [definition]}
    return {"_aws": about, **dimensions, **metrics}

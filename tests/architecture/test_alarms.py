"""The alarms of template.yaml and cloud/data.yaml page for what needs a person."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.template import DATA_TEMPLATE, read_template

Minutes = list[dict[str, int]]
"""What CloudWatch has received, minute by minute, the oldest first."""

IDLE: Minutes = []
ZEROS: Minutes = [
    dict.fromkeys(("JobsEnded", "JobsFailed", "JobsRefused", "Errors", "Invocations"), 0)
] * 60
ONE_KILLED: Minutes = [{"JobsEnded": 1, "JobsFailed": 1, "Errors": 1, "Invocations": 1}]
FEW_FAIL: Minutes = [{"JobsEnded": 9, "JobsFailed": 2, "Errors": 1, "Invocations": 9}] * 60
ALL_FAIL: Minutes = [{"JobsEnded": 9, "JobsFailed": 9, "Errors": 9, "Invocations": 9}] * 15
FEW_JOBS_ALL_FAIL: Minutes = [*([{}] * 19), {"JobsEnded": 1, "JobsFailed": 1}] * 3
REFUSED: Minutes = [{"JobsEnded": 2, "JobsFailed": 2, "JobsRefused": 2}, *([{}] * 9)] * 6
ALL_REFUSED: Minutes = [{"JobsEnded": 9, "JobsFailed": 9, "JobsRefused": 9}] * 15


def test_every_alarm_notifies_a_topic() -> None:
    """Of dead letters, errors, old messages, throttles and failing jobs; of both servers."""
    own, data = alarms_of(None), alarms_of(DATA_TEMPLATE)
    assert set().union(*map(metrics_of, own.values())) >= {
        *("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"),
        *("Errors", "Throttles", "JobsFailed"),
    }
    assert set().union(*map(metrics_of, data.values())) >= {
        *("DatabaseConnections", "FreeStorageSpace", "CPUUtilization"),
        *("DatabaseMemoryUsagePercentage", "EngineCPUUtilization"),
    }
    for alarm in own.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    for alarm in data.values():
        assert alarm["AlarmActions"]["Fn::If"][:2] == ["HasAlarmTopic", [{"Ref": "AlarmTopic"}]]


def alarms_of(path: Path | None) -> dict[str, dict[str, Any]]:
    """Return the properties of the alarms of a template; None means template.yaml."""
    found = (read_template() if path is None else read_template(path))["Resources"].items()
    return {
        name: one["Properties"] for name, one in found if one["Type"] == "AWS::CloudWatch::Alarm"
    }


def metrics_of(alarm: Mapping[str, Any]) -> set[str]:
    """Return the names of the metrics that an alarm looks at."""
    return set(re.findall(r"'MetricName': '(\w+)'", str(alarm)))


@pytest.mark.parametrize(
    ("alarm", "minutes", "pages"),
    [
        ("JobFailuresAlarm", IDLE, False),
        ("JobFailuresAlarm", ZEROS, False),
        ("JobFailuresAlarm", ONE_KILLED, False),
        ("JobFailuresAlarm", FEW_FAIL, False),
        ("JobFailuresAlarm", ALL_FAIL, True),
        ("JobFailuresAlarm", FEW_JOBS_ALL_FAIL, True),
        ("JobFailuresAlarm", REFUSED, False),
        ("JobFailuresAlarm", ALL_REFUSED, True),
        ("WorkerErrorsAlarm", IDLE, False),
        ("WorkerErrorsAlarm", ZEROS, False),
        ("WorkerErrorsAlarm", ONE_KILLED, False),
        ("WorkerErrorsAlarm", FEW_FAIL, False),
        ("WorkerErrorsAlarm", ALL_FAIL, True),
    ],
)
def test_an_alarm_pages_for_what_needs_a_person(alarm: str, minutes: Minutes, pages: bool) -> None:
    """All jobs failing does, however few they are; one that was killed at its limit does not."""
    assert is_raised(alarms_of(None)[alarm], minutes) == pages


def is_raised(alarm: Mapping[str, Any], minutes: Minutes) -> bool:
    """Evaluate an alarm over an expression as CloudWatch does, by its metric math."""
    [expression] = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
    sources = {one["Id"]: one["MetricStat"] for one in alarm["Metrics"] if "MetricStat" in one}
    [period] = {source["Period"] // 60 for source in sources.values()}
    code = expression.replace("AND", "and").replace("OR", "or")
    breaching = 0
    last = minutes[-alarm["EvaluationPeriods"] * period :]
    for start in range(0, len(last), period):
        window = last[start : start + period]
        values = {
            name: sum(minute.get(source["Metric"]["MetricName"], 0) for minute in window)
            for name, source in sources.items()
        }
        choose = {"IF": lambda condition, yes, no: yes if condition else no}
        breaching += eval(code, choose, values) > alarm["Threshold"]  # noqa: S307 - of template.yaml
    needed: int = alarm["DatapointsToAlarm"]
    return breaching >= needed

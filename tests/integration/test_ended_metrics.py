"""How jobs end, as the reaper reports it to CloudWatch: counted in the rows, written as metrics."""

import json

import pytest
from sqlalchemy import Engine

from functions.metrics import report_ended, report_state
from shared.jobs.job_store import JobStore
from shared.metrics.store import MetricStore, Spent
from tests.support.builders import new_job
from tests.support.database import Database

LAST_MINUTE = "date_trunc('minute', now()) - interval '30 seconds'"


def end(jobs: JobStore, database: Database, code: str | None, finished_at: str) -> None:
    """Have a job end at a time, with an error of this code or without one."""
    job = jobs.insert(new_job())
    if code is None:
        how = "status = 'COMPLETED', progress = 100, result = '{}'"
    else:
        how = f"status = 'FAILED', error = '{json.dumps({'code': code})}'"
    database.update_job(job.id, f"{how}, finished_at = {finished_at}")


def test_the_ends_of_a_minute_are_metrics(
    jobs: JobStore, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each job counts in one minute; a cancelled one is neither a success nor a failure."""
    for code in (None, None, "worker_lost", "worker_lost", "prompt_rejected", "cancelled"):
        end(jobs, database, code, LAST_MINUTE)
    end(jobs, database, "time_limit", f"{LAST_MINUTE} - interval '1 minute'")
    end(jobs, database, "time_limit", "greatest(now(), date_trunc('minute', now()))")
    jobs.insert(new_job())
    counted = jobs.count_ended()
    assert counted == {None: 2, "worker_lost": 2, "prompt_rejected": 1, "cancelled": 1}
    report_ended(counted, "reaper")
    totals, *by_code = map(json.loads, capsys.readouterr().out.splitlines())
    assert (totals["JobsEnded"], totals["JobsFailed"], totals["JobsRefused"]) == (5, 3, 1)
    assert {line["Code"]: line["JobsFailed"] for line in by_code} == {
        "worker_lost": 2,
        "prompt_rejected": 1,
    }
    for line in (totals, *by_code):
        [definition] = line["_aws"]["CloudWatchMetrics"]
        assert definition["Namespace"] == "Darkroom"
        assert line["FunctionName"] == "reaper"
        named = {metric["Name"] for metric in definition["Metrics"]} | {
            *definition["Dimensions"][0]
        }
        assert named == set(line) - {"_aws"}


@pytest.mark.parametrize("counted", [{}, {"cancelled": 3}])
def test_where_no_job_ended_nothing_is_written(
    counted: dict[str | None, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Alarms take silence for peace, and metrics cost money."""
    report_ended(counted, "reaper")
    assert capsys.readouterr().out == ""


def test_what_is_open_and_spent_is_metrics(
    jobs: JobStore, engine: Engine, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same numbers as Prometheus reads; those of one minute instead of those that only grow."""
    end(jobs, database, None, LAST_MINUTE)
    database.fetch(
        "INSERT INTO generation_attempts (job_id, number, token, runtime, finished_at, outcome,"
        " charge_state, price_microdollars) SELECT id, 1, 1, 'lambda', now(), 'completed',"
        " 'charged', 40 FROM generation_jobs"
    )
    jobs.insert(new_job())
    metrics = MetricStore(engine, "mock")
    assert metrics.spent() == Spent(40, {"charged": 1})
    report_state(metrics.read(), metrics.spent(), "reaper")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [waiting] = [line["JobsOpen"] for line in lines if line.get("Status") == "PENDING"]
    [spent] = [line["CostMicrodollars"] for line in lines if "CostMicrodollars" in line]
    [calls] = [line["ProviderCalls"] for line in lines if line.get("ChargeState") == "charged"]
    assert (waiting, spent, calls) == (1, 40, 1)
    for line in lines:
        [definition] = line["_aws"]["CloudWatchMetrics"]
        named = {metric["Name"] for metric in definition["Metrics"]}
        assert named | {*definition["Dimensions"][0]} == set(line) - {"_aws"}
    names = {name for line in lines for name in line}
    assert {"OldestPendingSeconds", "Webhooks", "WebhookDeliveriesWaiting"} <= names

"""What operators measure: counted once when jobs end, read in one statement, written as text."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import Engine

from shared.errors import ServiceUnavailable
from shared.metrics.exposition import FAMILIES, render
from shared.metrics.server import CACHE_SECONDS, Exporter, MetricsServer
from shared.metrics.store import BOUNDS, MetricStore, Sample
from tests.support.database import Database
from tests.support.wait import wait_until

LINE = re.compile(r'[a-z_]+\{([a-z_]+="[^"\n]*",?)*\} [0-9.e+]+')


@pytest.fixture
def metrics(engine: Engine, database: Database) -> MetricStore:
    """Give the store, with no totals and no lag."""
    for table in ("metric_totals", "workers", "webhooks"):
        database.fetch(f"DELETE FROM {table}")
    database.fetch("UPDATE metric_horizon SET counted_to = now()")
    return MetricStore(engine, "mock", lag_seconds=0)


def value(metrics: MetricStore, name: str, **labels: str) -> float:
    """Return one number; those of labels that are not given are summed up."""
    found = [
        sample.value
        for sample in metrics.read()
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


def end(database: Database, outcome: str, *, code: str = "", price: int = 0) -> None:
    """Have a job end after one attempt of four seconds, three seconds after it was accepted."""
    error = None if outcome == "completed" else f'{{"code": "{code}"}}'
    status = "COMPLETED" if error is None else "FAILED"
    job_id, _ = database.insert_job(status="PENDING")
    database.fetch(
        "INSERT INTO generation_attempts (job_id, number, token, runtime, started_at, finished_at,"
        " outcome, error, charge_state, provider, price_microdollars) VALUES (%(id)s, 1, 1,"
        " 'celery', now() - interval '4 s', now(), %(outcome)s, %(error)s, %(charge)s, 'mock',"
        " %(price)s)",
        id=str(job_id),
        outcome=outcome,
        error=error,
        charge="charged" if price else "none",
        price=price,
    )
    database.update_job(
        job_id,
        "status = %(status)s, progress = 100, result = '{}', error = %(error)s, attempt = 1,"
        " created_at = now() - interval '7 s', started_at = now() - interval '4 s',"
        " finished_at = clock_timestamp()",
        status=status,
        error=error,
    )


def test_what_ends_is_counted_once(metrics: MetricStore, database: Database) -> None:
    """However many runs there are, and although the jobs are deleted."""
    for price in (40, 2):
        end(database, "completed", price=price)
    end(database, "failed", code="provider_unavailable")
    assert metrics.count(limit=2) == 2
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: metrics.count(), range(8))) == 1
    database.clear()
    assert metrics.count() == 0
    failed = {"status": "FAILED", "code": "provider_unavailable", "provider": "mock"}
    assert value(metrics, "darkroom_jobs_total", status="COMPLETED", runtime="celery") == 2
    assert value(metrics, "darkroom_jobs_total", **failed) == 1
    assert value(metrics, "darkroom_attempts_total", code="provider_unavailable") == 1
    assert value(metrics, "darkroom_provider_calls_total", charge_state="charged") == 2
    assert value(metrics, "darkroom_cost_microdollars_total", provider="mock") == 42
    for name, seconds in (("darkroom_attempt_seconds", 4), ("darkroom_job_queue_seconds", 3)):
        counts = [value(metrics, f"{name}_bucket", le=bound) for bound in BOUNDS]
        assert counts == [3.0 * (float(bound) >= seconds) for bound in BOUNDS]
        assert value(metrics, f"{name}_count") == 3
        assert value(metrics, f"{name}_sum") == pytest.approx(3 * seconds, abs=0.5)


def test_an_end_that_may_be_committed_late_is_left_for_later(
    engine: Engine, metrics: MetricStore, database: Database
) -> None:
    """`finished_at` is when its transaction began."""
    end(database, "completed")
    assert MetricStore(engine, "mock", lag_seconds=60).count() == 0
    assert metrics.count() == 1


def test_what_is_open_is_read_as_it_is(metrics: MetricStore, database: Database) -> None:
    """Jobs that wait on purpose raise no alarm."""
    assert value(metrics, "darkroom_oldest_pending_seconds") == 0
    waits, _ = database.insert_job()
    database.update_job(waits, "created_at = now() - interval '1 hour'")
    later, _ = database.insert_job()
    database.update_job(
        later, "created_at = now() - interval '2 hours', next_attempt_at = now() + interval '1 h'"
    )
    assert value(metrics, "darkroom_jobs_open", status="PENDING") == 2
    assert value(metrics, "darkroom_jobs_open", status="PROCESSING") == 0
    assert value(metrics, "darkroom_oldest_pending_seconds") == pytest.approx(3600, abs=60)
    database.fetch("INSERT INTO paused_providers (provider) VALUES ('mock')")
    assert value(metrics, "darkroom_oldest_pending_seconds") == 0
    database.fetch("DELETE FROM paused_providers")
    assert value(metrics, "darkroom_worker_slots") == 0
    database.fetch(
        "INSERT INTO workers (owner, runtime, slots, version, expires_at)"
        " VALUES ('a', 'lambda', 10, '1', now() + interval '1 minute'),"
        " ('b', 'celery', 4, '1', now() - interval '1 minute')"
    )
    assert value(metrics, "darkroom_worker_slots", runtime="lambda") == 10
    assert value(metrics, "darkroom_workers", runtime="celery") == 0


def test_webhooks_that_fail_are_seen(metrics: MetricStore, database: Database) -> None:
    """Each in one state; deliveries that wait, apart by whether they were tried."""
    states = ("NULL, NULL", "now(), NULL", "now(), now()")
    for failing_and_disabled in states:
        database.fetch(
            "INSERT INTO webhooks (workspace_id, url, events, secret, failing_since, disabled_at)"
            f" VALUES ('default', 'http://shop', '{{}}', 's', {failing_and_disabled})"
        )
    job_id, _ = database.insert_job()
    database.fetch(
        "INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job, tries,"
        " created_at) SELECT gen_random_uuid(), %(id)s, 'x', 'x', '{}', tries,"
        " now() - interval '1 hour' FROM unnest(ARRAY[0, 0, 3]) AS tries",
        id=str(job_id),
    )
    for state in ("working", "failing", "disabled"):
        assert value(metrics, "darkroom_webhooks", state=state) == 1
    assert value(metrics, "darkroom_webhook_deliveries_waiting", tried="no") == 2
    assert value(metrics, "darkroom_webhook_deliveries_waiting", tried="yes") == 1
    assert value(metrics, "darkroom_webhook_oldest_waiting_seconds") > 3500


def test_the_text_is_in_the_format_and_has_celerys_names(
    metrics: MetricStore, database: Database
) -> None:
    """Every family is described once, before its samples."""
    end(database, "completed")
    metrics.count()
    own = Sample("celery_queue_length", {"queue_name": 'a"\\\n'}, 1)
    text = render((*metrics.read(), own), "generate_images_task")
    task = 'name="generate_images_task"'
    assert f'celery_tasks_total{{{task},state="SUCCESS"}} 1.0' in text
    assert f'celery_task_runtime_seconds_bucket{{{task},le="5"}} 1.0' in text
    assert f"celery_task_queuetime_seconds_count{{{task}}} 1.0" in text
    assert 'celery_queue_length{queue_name="a\\"\\\\\\n"} 1' in text
    lines = text.splitlines()
    described = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert described == sorted(set(described))
    assert {*FAMILIES} - {*described} == {"darkroom_event_streams"}
    samples = [line for line in lines if not line.startswith("#") and "queue_length" not in line]
    assert [line for line in samples if LINE.fullmatch(line) is None] == []
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)


@pytest.fixture
def reads() -> list[float]:
    """Give the list of the times at which metrics were read."""
    return []


@pytest.fixture
def address(reads: list[float]) -> Iterator[str]:
    """Give the address of a server whose second read fails."""

    def read() -> list[Sample]:
        reads.append(time.monotonic())
        if len(reads) > 1:
            raise ServiceUnavailable("PostgreSQL: password of secret refused")
        return [Sample("darkroom_workers", {"runtime": "celery"}, 1.0)]

    exporter = Exporter(read)
    server = MetricsServer("127.0.0.1", 0, exporter)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


def refusal_of(url: str) -> tuple[int, str] | None:
    """Return the status and text of a refused request."""
    answer = httpx.get(url, timeout=30)
    return (answer.status_code, answer.text) if answer.is_error else None


def test_scrapes_share_a_read_for_some_seconds(address: str, reads: list[float]) -> None:
    """The port serves nothing else, and names no reason of a failure."""
    first = httpx.get(f"{address}/metrics", timeout=30)
    assert first.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'darkroom_workers{runtime="celery"} 1.0' in first.text
    assert refusal_of(f"{address}/") == (404, "metrics are at /metrics\n")
    refusal = wait_until(lambda: refusal_of(f"{address}/metrics"), 60, "another read")
    assert refusal == (503, "PostgreSQL is unavailable\n")
    assert reads[1] - reads[0] >= CACHE_SECONDS

"""What Celery's own clients see: messages that they send, records that they read and wait for."""

import gc
import json
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery

from devkit.stack import EmbeddedRedis
from shared.adapters.celery_broker import JOB_QUEUE, TASK_NAME, broker_url, result_backend_url
from shared.adapters.celery_queue import CeleryDispatcher
from shared.errors import JobFailed, ServiceUnavailable
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import EventPublisher
from shared.jobs.release_store import OpenEnvelope
from shared.settings import Settings
from shared.status import COMPLETED, STARTING, Ending, failed, rendering
from tests.support.channel import RedisClient
from tests.support.wait import wait_until

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TASK = "task-1"


@pytest.fixture
def dispatcher(settings: Settings) -> Iterator[CeleryDispatcher]:
    """Give a dispatcher; what it has opened is closed."""
    with closing(CeleryDispatcher(settings)) as dispatcher:
        yield dispatcher


@pytest.fixture(params=["plain", "ours"])
def app(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Celery]:
    """Give an application that knows only the address of Redis, and the product's own."""
    if request.param == "plain":
        app = Celery("reader", backend=broker_url(settings.redis_url), set_as_current=False)
    else:
        monkeypatch.setenv("DATABASE_URL", settings.database_url)
        monkeypatch.setenv("REDIS_URL", settings.redis_url)
        from local.celery_app import create_app

        app = create_app(settings)
    yield app
    # A result that is collected says so to Redis: in whatever thread, and again and again if
    # Redis is down by then.
    gc.collect()
    app.backend.result_consumer.stop()
    app.backend.client.close()
    app.close()


@pytest.fixture
def events(publisher: EventPublisher) -> AttemptEvents:
    """Give the events of the first attempt."""
    publisher.publish_waiting(TASK, token=0, attempt=1, max_attempts=3)
    return AttemptEvents(publisher, TASK, token=1, attempt=1, max_attempts=3, owns_job=lambda: True)


def completed() -> Ending:
    """Return the end of a job that worked."""
    return Ending(UUID(int=1), TASK, 1, COMPLETED, NOW, ("/v1/images/a", "/v1/images/b"))


def test_a_job_is_pending_then_processing_then_done(
    app: Celery, publisher: EventPublisher, events: AttemptEvents
) -> None:
    """The states of `AsyncResult`, with the step as its info."""
    result = app.AsyncResult(TASK)
    assert (result.state, result.info) == ("PENDING", None)
    events.publish(rendering(30))
    assert result.state == "PROCESSING"
    assert result.info == {"status": "processing", "progress": 30, "message": "Rendering..."}
    assert not result.ready()
    events.publish_waiting(2)
    assert result.state == "PROCESSING"
    assert result.info["message"] == "Retrying (attempt 2 of 3)"
    publisher.publish_ending(completed())
    assert result.successful()
    assert result.result == {"job_id": str(UUID(int=1)), "images": ["/v1/images/a", "/v1/images/b"]}
    assert result.date_done == NOW
    assert result.traceback is None


def test_a_failed_job_raises_its_own_error(app: Celery, publisher: EventPublisher) -> None:
    """With the code for programs and the message for people."""
    step = failed(50, "Rejected né")
    publisher.publish_ending(Ending(UUID(int=1), TASK, 1, step, NOW, (), "prompt_rejected"))
    result = app.AsyncResult(TASK)
    assert result.failed()
    with pytest.raises(JobFailed) as caught:
        result.get(timeout=5)
    assert (caught.value.failure_code, caught.value.message) == ("prompt_rejected", "Rejected né")


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_waiting_client_is_woken_at_the_end(
    app: Celery, redis: RedisClient, publisher: EventPublisher, events: AttemptEvents, end: str
) -> None:
    """`get()` listens; the steps in between do not wake it."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(app.AsyncResult(TASK).get, timeout=20)
        channel = f"celery-task-meta-{TASK}"
        wait_until(lambda: redis.pubsub_numsub(channel)[0][1], 10, "the client to listen")
        events.publish(STARTING)
        events.publish(rendering(90))
        assert not waiting.done()
        if end == "completed":
            publisher.publish_ending(completed())
            assert waiting.result(10)["images"] == ["/v1/images/a", "/v1/images/b"]
        else:
            step = failed(90, "Killed")
            publisher.publish_ending(Ending(UUID(int=1), TASK, 1, step, NOW, (), "time_limit"))
            with pytest.raises(JobFailed, match="Killed"):
                waiting.result(10)


def test_our_backend_reads_and_never_writes(
    settings: Settings, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script is the one writer; Celery would overwrite an end with a revoke or a loss."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    from local.celery_app import create_app

    app = create_app(settings)
    app.backend.store_result(TASK, {"x": 1}, "SUCCESS")
    app.backend.mark_as_failure(TASK, ValueError("x"))
    app.backend.mark_as_revoked(TASK)
    assert redis.keys("*") == []
    app.backend.client.close()
    app.close()


def read_message(redis: RedisClient) -> dict[str, Any]:
    """Take the one message from the queue of jobs."""
    (data,) = redis.lrange(JOB_QUEUE, 0, -1)
    message: dict[str, Any] = json.loads(str(data))
    return message


def test_an_envelope_is_a_message_that_any_celery_worker_reads(
    dispatcher: CeleryDispatcher, redis: RedisClient
) -> None:
    """The task by its name, the job as its one argument, an id of its own, at once."""
    job_id = uuid4()
    dispatcher.dispatch(job_id, TASK)
    message = read_message(redis)
    assert (message["headers"]["task"], message["headers"]["id"]) == (TASK_NAME, TASK)
    assert message["headers"]["eta"] is None
    assert message["content-type"] == "application/json"
    args, kwargs, _ = json.loads(b64decode(message["body"]))
    assert (args, kwargs) == ([str(job_id)], {})


def test_an_envelope_is_lost_once_neither_the_queue_nor_a_worker_has_it(
    dispatcher: CeleryDispatcher, redis: RedisClient
) -> None:
    """One that a worker holds is lost when the worker does not begin it."""
    waiting, held, lost, stuck = (str(uuid4()) for _ in range(4))
    for envelope_id in (waiting, held, stuck):
        dispatcher.dispatch(uuid4(), envelope_id)
    for envelope_id in (held, stuck):
        (message,) = (m for m in redis.lrange(JOB_QUEUE, 0, -1) if envelope_id in str(m))
        redis.lrem(JOB_QUEUE, 1, message)
        redis.hset("unacked", envelope_id, json.dumps([json.loads(message), "", JOB_QUEUE]))
    redis.lpush(JOB_QUEUE, "{not json")
    envelopes = [
        OpenEnvelope(uuid4(), envelope_id, age, 1)
        for envelope_id, age in ((waiting, 900), (held, 3), (lost, 3), (stuck, 11), (None, 3))
    ]
    found = dispatcher.find_lost(envelopes, running=0)
    assert [envelope.envelope_id for envelope in found] == [lost, stuck, None]


def test_a_dispatcher_opens_no_channel(dispatcher: CeleryDispatcher, redis: RedisClient) -> None:
    """One with a result backend would open one for each envelope."""
    for _ in range(10):
        dispatcher.dispatch(uuid4(), str(uuid4()))
    assert redis.pubsub_channels() == []


def test_a_dispatcher_leaves_the_connections_of_other_applications_alone(
    settings: Settings, dispatcher: CeleryDispatcher, redis: RedisClient
) -> None:
    """A worker that greets its neighbours, and a shop with a Celery application of its own."""
    with Celery(broker=broker_url(settings.redis_url), set_as_current=False) as other:
        with other.pool.acquire(block=True):
            dispatcher.dispatch(uuid4(), TASK)
        assert other.pool.limit == other.conf.broker_pool_limit
    assert redis.llen(JOB_QUEUE) == 1


@pytest.mark.parametrize("fault", ["down", "frozen"])
def test_a_broker_that_is_down_is_reported_within_a_bounded_time(
    dispatcher: CeleryDispatcher, redis_server: EmbeddedRedis, fault: str
) -> None:
    """The caller has committed the row, and leaves the envelope to the sweep."""
    # Results of other tests: see `app`.
    gc.collect()
    dispatcher.dispatch(uuid4(), TASK)
    if fault == "down":
        redis_server.kill()
    else:
        redis_server.pause()
    done = threading.Event()

    def dispatch() -> None:
        with pytest.raises(ServiceUnavailable, match="Celery's broker"):
            dispatcher.dispatch(uuid4(), TASK)
        done.set()

    thread = threading.Thread(target=dispatch)
    thread.start()
    thread.join(6)
    assert done.is_set()


@pytest.mark.parametrize(
    ("redis_url", "broker", "backend"),
    [
        ("redis://:p@h:1/2", "redis://:p@h:1/2", "a:B+redis://:p@h:1/2"),
        (
            "rediss://h:1/0",
            "rediss://h:1/0?ssl_cert_reqs=required",
            "a:B+rediss://h:1/0?ssl_cert_reqs=required",
        ),
        (
            "rediss://h:1/0?ssl_cert_reqs=none",
            "rediss://h:1/0?ssl_cert_reqs=none",
            "a:B+rediss://h:1/0?ssl_cert_reqs=none",
        ),
        ("unix:///tmp/r.sock", "redis+socket:///tmp/r.sock", "a:B+socket:///tmp/r.sock"),
        (
            "unix:///tmp/r.sock?db=3",
            "redis+socket:///tmp/r.sock?virtual_host=3",
            "a:B+socket:///tmp/r.sock?virtual_host=3",
        ),
    ],
)
def test_addresses_are_written_as_kombu_and_celery_want_them(
    redis_url: str, broker: str, backend: str
) -> None:
    """Both have their own scheme for a socket, and their own option for certificates."""
    assert broker_url(redis_url) == broker
    assert result_backend_url(redis_url, "a:B") == backend


def test_certificates_are_checked_unless_the_address_says_otherwise() -> None:
    """By the broker's connections and by the backend's."""
    url = broker_url("rediss://:secret@h:6380/0")
    app = Celery("secure", broker=url, backend=url, set_as_current=False)
    assert app.connection().ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert app.backend.connparams["ssl_cert_reqs"] == ssl.CERT_REQUIRED

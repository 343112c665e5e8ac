"""A worker's connection to Redis that has lost an answer, or gets none any more."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from kombu import transport
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from devkit.stack import EmbeddedRedis
from local.worker import silence
from local.worker.envelopes import EnvelopeChannel, EnvelopeTransport
from local.worker.silence import SilenceStep
from shared.adapters.celery_broker import JOB_QUEUE, broker_url
from tests.support.wait import wait_until


@pytest.fixture
def channel(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EnvelopeChannel]:
    """Give a channel as the consumer of a worker has, which waits 0.2 s for an answer."""
    name = f"{EnvelopeTransport.__module__}:{EnvelopeTransport.__name__}"
    monkeypatch.setitem(transport.TRANSPORT_ALIASES, "redis", name)
    monkeypatch.setattr(transport, "_transport_cache", {})
    address, options = broker_url(redis_server.url), {"socket_timeout": 0.2}
    with kombu.Connection(address, transport_options=options) as connection:
        yield connection.channel()


@pytest.fixture
def look(channel: EnvelopeChannel, redis_server: EmbeddedRedis) -> Any:
    """Give what looks at the channel, as the timer of the event loop does."""
    settings = SimpleNamespace(redis_url=redis_server.url)
    consumer = SimpleNamespace(
        app=SimpleNamespace(darkroom_settings=settings),
        task_consumer=SimpleNamespace(channel=channel),
    )
    step = SilenceStep(consumer)
    return lambda: step._look(consumer)


def connects_anew(look: Any) -> bool:
    """Return whether the worker takes its connection for lost."""
    try:
        look()
    except RedisConnectionError:
        return True
    return False


def test_a_lost_acknowledgement_costs_the_connection_once_redis_answers(
    channel: EnvelopeChannel, look: Any, redis_server: EmbeddedRedis
) -> None:
    """Celery only logs it, and counts the message as held for ever."""
    kombu.Queue(JOB_QUEUE, channel=channel).declare()
    kombu.Producer(channel).publish({}, routing_key=JOB_QUEUE)
    message = channel.basic_get(JOB_QUEUE)
    redis_server.pause()
    with pytest.raises(RedisTimeoutError):
        message.ack()
    assert not any(connects_anew(look) for _ in range(3))
    redis_server.resume()
    wait_until(lambda: connects_anew(look), 10, "the connection to be taken for lost")


def test_a_read_without_an_answer_costs_the_connection(
    channel: EnvelopeChannel, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others are answered; kombu asks for one within a second."""
    look()
    channel._in_poll = object()
    channel._asked_at = -silence.SILENT_SECONDS
    wait_until(lambda: connects_anew(look), 10, "the connection to be taken for lost")
    channel._in_poll = None
    assert not connects_anew(look)

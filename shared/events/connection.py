"""Connections to Redis for events: with timeouts, and safe to use after a fork or a freeze."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.errors import ConfigurationError, ServiceUnavailable, one_line
from shared.events.keys import Keys, unprefixed

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

TIMEOUT_SECONDS = 1.0
"""No job waits longer for one event; `EventPublisher` pauses after each failure."""

CLUSTER_ALTERNATIVE = (
    "Use one primary with replicas (ElastiCache: cluster mode disabled, not serverless)."
)


def connect_redis(redis_url: str, max_connections: int = 4) -> Redis:
    """Return a client that times out after a second and retries once.

    A retry is harmless: the script refuses an event that it has appended before. The client
    keeps its connections by process id, and checks an idle one before it uses it.
    """
    return Redis.from_url(
        redis_url,
        **_options(redis_url),
        socket_timeout=TIMEOUT_SECONDS,
        max_connections=max_connections,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )


def connect_async_redis(redis_url: str) -> "AsyncRedis":
    """Return a client for the running event loop; without retries, and without timeouts.

    Its callers must learn of each lost connection, because messages may be missing afterwards.
    A timer for each message would cost as much as the message, so callers bound their reads.
    """
    from redis.asyncio import Redis as AsyncRedis
    from redis.asyncio.retry import Retry as AsyncRetry

    client: AsyncRedis = AsyncRedis.from_url(
        redis_url,
        **_options(redis_url),
        socket_timeout=None,
        max_connections=8,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    return client


def refuse_cluster_mode(redis: Redis, keys: Keys = unprefixed) -> None:
    """Check at the start of a process that one script may use all keys of a job.

    A server that does not answer passes, because an outage of Redis ends no process.

    Raises:
        ConfigurationError: Redis is in cluster mode.
    """
    with suppress(RedisError):
        if is_in_cluster_mode(redis, keys):
            raise ConfigurationError(
                "settings: REDIS_URL names a Redis in cluster mode, which keeps the keys of a job "
                f"in several slots. {CLUSTER_ALTERNATIVE}"
            )


def is_in_cluster_mode(redis: Redis, keys: Keys = unprefixed) -> bool:
    """Return whether the server refuses a script that uses two keys of one job.

    Asked this way, because INFO is refused to users without administrative rights, and differs
    between the managed services.

    Raises:
        RedisError: It does not answer, or does not run scripts for this user.
    """
    try:
        redis.eval("return 0", 2, keys.stream("probe"), keys.celery_record("probe"))
    except (ClusterCrossSlotError, ClusterDownError, MovedError):
        return True
    return False


@contextmanager
def reporting_unavailability() -> Iterator[None]:
    """Turn the errors of the client into ServiceUnavailable."""
    try:
        yield
    except RedisError as error:
        raise ServiceUnavailable(one_line(f"Redis: {error}")) from error


def _options(redis_url: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "health_check_interval": 15,
    }
    # A Unix socket has no keepalive, and redis-py refuses the option there.
    return options if redis_url.startswith("unix://") else {**options, "socket_keepalive": True}

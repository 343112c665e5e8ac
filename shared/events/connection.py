"""Connections to Redis for events: bounded in time, safe over forks and freezes."""

from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

TIMEOUT_SECONDS = 1.0
"""No job waits longer for one event; `CircuitBreaker` bounds how often."""


def connect_redis(redis_url: str, max_connections: int = 4) -> Redis:
    """Return a client that gives up after a second and reconnects once.

    One repeated send is harmless: the script refuses what it has already seen. The client holds
    its connections by process id, and checks one that lay idle before it uses it.
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
    """Return a client for the running event loop.

    It does not repeat what fails: whoever listens must know that there may be a gap. It has no
    timeout either, as a timer for each message would cost as much as the message: whoever uses
    it keeps an eye on it.
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


def _options(redis_url: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "health_check_interval": 15,
    }
    # A Unix socket has no keepalive, and redis-py refuses the option there.
    return options if redis_url.startswith("unix://") else {**options, "socket_keepalive": True}

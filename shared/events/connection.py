"""Connections to Redis for events: bounded in time, safe over forks and freezes."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

TIMEOUT_SECONDS = 1.0
"""No job waits longer for one event; `CircuitBreaker` bounds how often."""


def connect_redis(redis_url: str, max_connections: int = 4) -> Redis:
    """Return a client that gives up after a second and reconnects once.

    One repeated send is harmless: the script refuses what it has already seen. The client holds
    its connections by process id, and checks one that lay idle before it uses it.
    """
    # A Unix socket has no keepalive, and redis-py refuses the option there.
    keepalive = {} if redis_url.startswith("unix://") else {"socket_keepalive": True}
    return Redis.from_url(
        redis_url,
        decode_responses=True,
        protocol=2,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=15,
        max_connections=max_connections,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        **keepalive,
    )

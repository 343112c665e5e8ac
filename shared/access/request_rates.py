"""How many requests each API key has sent in this minute, counted in Redis over all processes."""

import math
import threading
import time
from dataclasses import dataclass

import structlog
from redis import Redis, RedisError

from shared.breaker import Breaker
from shared.errors import LimitReached

WINDOW_SECONDS = 60

# KEYS: the requests of an API key. ARGV: seconds.
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], 1000 * ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""

log = structlog.get_logger(__name__)


def requests_key(key_id: str) -> str:
    """Return the count of an API key's requests; it expires with its minute."""
    return f"api_requests:{key_id}"


class TooManyRequests(LimitReached, code="too_many_requests"):
    """The API key has sent as many requests within a minute as it may."""

    policy = "requests"
    window_seconds = WINDOW_SECONDS
    holder = "API key"


@dataclass(frozen=True, slots=True)
class RequestsLeft:
    """What is left of the requests of an API key, and the seconds until all are back."""

    limit: int
    remaining: int
    reset_seconds: int


class RequestRates:
    """Counts the requests of API keys; a minute begins with the first request.

    While Redis is unavailable, each process counts for itself.

    Args:
        redis: Where they are counted.
        limit: Requests a minute; None counts nothing.
        prefix: REDIS_PREFIX.
    """

    def __init__(self, redis: Redis, limit: int | None, prefix: str = "") -> None:
        self._prefix = prefix
        self._limit = limit
        self._count = redis.register_script(_COUNT)
        self._breaker = Breaker()
        self._counting = threading.Lock()
        self._counted: dict[str, tuple[int, float]] = {}

    def take(self, key_id: str) -> RequestsLeft | None:
        """Count a request of a key that is valid; None without a limit.

        Raises:
            TooManyRequests: The key has sent as many in this minute as it may.
        """
        if self._limit is None:
            return None
        count, seconds = self._count_in_redis(key_id) or self._count_here(key_id)
        reset_seconds = min(max(1, math.ceil(seconds)), WINDOW_SECONDS)
        if count > self._limit:
            raise TooManyRequests(self._limit, reset_seconds)
        return RequestsLeft(self._limit, self._limit - count, reset_seconds)

    def _count_in_redis(self, key_id: str) -> tuple[int, float] | None:
        if not self._breaker.admits():
            return None
        try:
            key = f"{self._prefix}{requests_key(key_id)}"
            count, milliseconds = self._count(keys=[key], args=[WINDOW_SECONDS])
        except RedisError as error:
            self._breaker.open()
            log.warning("requests counted by this process alone", reason=str(error))
            return None
        self._breaker.close()
        return count, milliseconds / 1000

    def _count_here(self, key_id: str) -> tuple[int, float]:
        now = time.monotonic()
        with self._counting:
            # No more keys than are valid.
            count, until = self._counted.get(key_id, (0, 0.0))
            if now >= until:
                count, until = 0, now + WINDOW_SECONDS
            self._counted[key_id] = count + 1, until
        return count + 1, until - now

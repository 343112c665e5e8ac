"""How many event streams a workspace has open, counted in Redis: over all processes.

A slot that its process no longer renews (it was killed) is free again after a while.
"""

from collections.abc import Iterable, Mapping

import structlog
from redis import Redis, RedisError

from shared.errors import TooManyStreams

SLOT_SECONDS = 45
"""Renewed three times within it."""

# KEYS: the slots of a workspace. ARGV: slot, limit, seconds. The server's clock counts.
_TAKE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""

# KEYS: the slots of a workspace. ARGV: seconds, slots.
_RENEW = """
local now = tonumber(redis.call('TIME')[1])
for index = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[index])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

log = structlog.get_logger(__name__)


def slots_key(workspace_id: str) -> str:
    """Return the sorted set of a workspace's open streams; its scores are their ends."""
    return f"open_streams:{workspace_id}"


class StreamSlots:
    """Counts the open streams of workspaces. While Redis is away nobody is refused."""

    def __init__(self, redis: Redis, limit: int) -> None:
        self._redis = redis
        self._limit = limit
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)

    def take(self, workspace_id: str, slot: str) -> None:
        """Take a slot for a stream about to open.

        Raises:
            TooManyStreams: The workspace has none left.
        """
        try:
            taken = self._take(
                keys=[slots_key(workspace_id)], args=[slot, self._limit, SLOT_SECONDS]
            )
        except RedisError as error:
            log.warning("streams not counted", reason=str(error))
            return
        if not taken:
            raise TooManyStreams(self._limit)

    def renew(self, slots: Mapping[str, Iterable[str]]) -> None:
        """Keep the slots of streams that are still open, by workspace."""
        try:
            for workspace_id, names in slots.items():
                self._renew(keys=[slots_key(workspace_id)], args=[SLOT_SECONDS, *names])
        except RedisError as error:
            log.warning("streams not counted", reason=str(error))

    def free(self, workspace_id: str, slots: Iterable[str]) -> None:
        """Give back the slots of streams that have ended."""
        try:
            self._redis.zrem(slots_key(workspace_id), *slots)
        except RedisError as error:
            log.warning("streams not counted", reason=str(error))

"""The open event streams of each workspace, counted in Redis over all processes.

A slot expires if its process does not renew it, so a killed process keeps none.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from redis import Redis, RedisError

from shared.errors import TooManyStreams

SLOT_SECONDS = 45
"""How long a slot lasts; it is renewed three times within that."""

# KEYS: the slots of a workspace. ARGV: slot, limit, seconds. The server's clock decides.
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
    """Return the sorted set of a workspace's open streams, scored by their expiry."""
    return f"open_streams:{workspace_id}"


class StreamSlots:
    """Counts the open streams of workspaces; refuses none while Redis is unavailable."""

    def __init__(self, redis: Redis, limit: int) -> None:
        self._redis = redis
        self._limit = limit
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)

    def take(self, workspace_id: str, slot: str) -> None:
        """Take a slot for a stream that is about to open.

        Raises:
            TooManyStreams: The workspace has no slot left.
        """
        taken = True
        with _logging_failure():
            taken = self._take(
                keys=[slots_key(workspace_id)], args=[slot, self._limit, SLOT_SECONDS]
            )
        if not taken:
            raise TooManyStreams(self._limit)

    def renew(self, slots: Mapping[str, Iterable[str]]) -> None:
        """Renew the slots of open streams, by workspace."""
        with _logging_failure():
            for workspace_id, names in slots.items():
                self._renew(keys=[slots_key(workspace_id)], args=[SLOT_SECONDS, *names])

    def free(self, workspace_id: str, slots: Iterable[str]) -> None:
        """Free the slots of streams that have ended."""
        with _logging_failure():
            self._redis.zrem(slots_key(workspace_id), *slots)


@contextmanager
def _logging_failure() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        log.warning("streams not counted", reason=str(error))

"""The open event streams of each workspace, and uploads, counted in Redis over all processes.

A slot expires if its process does not renew it, so a killed process keeps none.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from redis import Redis, RedisError

from shared.errors import TooManyStreams

SLOT_SECONDS = 45
"""How long a slot lasts; it is renewed three times within that."""

RETRY_AFTER_SECONDS = 15
RETRY_AFTER_MAX_SECONDS = 60
REFUSED_A_SECOND = 5
"""The more are refused at once, the later they are to come again: each costs a request."""

ACCOUNT_CONCURRENCY = 1_000
"""Sandboxes of an AWS account (Lambda quotas, "Concurrent executions")."""

# KEYS: the slots of a workspace, and how many were refused lately. ARGV: slot, limit, seconds, and
# how long refusals are counted. Returns the number of those, 0 if the slot was taken. The server's
# clock decides.
_TAKE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local refused = redis.call('INCR', KEYS[2])
  if refused == 1 then redis.call('EXPIRE', KEYS[2], ARGV[4]) end
  return refused
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 0
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


STREAMS = "open_streams"
UPLOADS = "open_uploads"


def slots_key(workspace_id: str, name: str = STREAMS) -> str:
    """Return the sorted set of a workspace's slots, scored by their expiry."""
    return f"{name}:{workspace_id}"


def streams_on_sandboxes(limit: int, sandboxes: int | None) -> int:
    """Return how many streams a workspace may have where each takes a sandbox: half of them.

    Args:
        limit: The limit of the settings.
        sandboxes: None if only the account limits them.
    """
    return min(limit, max(1, (sandboxes or ACCOUNT_CONCURRENCY) // 2))


def uploads_on_sandboxes(limit: int, sandboxes: int | None) -> int:
    """Return how many uploads a workspace may have decoded at once: a quarter of the sandboxes.

    Args:
        limit: Of one process.
        sandboxes: None if only the account limits them.
    """
    return min(limit, max(1, (sandboxes or ACCOUNT_CONCURRENCY) // 4))


class StreamSlots:
    """Counts the open streams of workspaces; refuses none while Redis is unavailable.

    Args:
        name: Of what is counted.
        prefix: REDIS_PREFIX.
    """

    def __init__(self, redis: Redis, limit: int, name: str = STREAMS, prefix: str = "") -> None:
        self._redis = redis
        self._limit = limit
        self._name = f"{prefix}{name}"
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)

    def take(self, workspace_id: str, slot: str) -> None:
        """Take a slot for a stream that is about to open.

        Raises:
            TooManyStreams: The workspace has no slot left.
        """
        key, refused = slots_key(workspace_id, self._name), 0
        with _logging_failure():
            refused = self._take(
                keys=[key, f"{key}:refused"],
                args=[slot, self._limit, SLOT_SECONDS, RETRY_AFTER_SECONDS],
            )
        if refused:
            late = min(refused // REFUSED_A_SECOND, RETRY_AFTER_MAX_SECONDS)
            raise TooManyStreams(self._limit, max(late, RETRY_AFTER_SECONDS))

    def renew(self, slots: Mapping[str, Iterable[str]]) -> None:
        """Renew the slots of open streams, by workspace."""
        with _logging_failure():
            for workspace_id, names in slots.items():
                self._renew(keys=[slots_key(workspace_id, self._name)], args=[SLOT_SECONDS, *names])

    def free(self, workspace_id: str, slots: Iterable[str]) -> None:
        """Free the slots of streams that have ended."""
        with _logging_failure():
            self._redis.zrem(slots_key(workspace_id, self._name), *slots)


@contextmanager
def _logging_failure() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        log.warning("streams not counted", reason=str(error))

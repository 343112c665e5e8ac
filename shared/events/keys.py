"""Every Redis key and channel of the events. Each write renews the TTL of its key."""

from dataclasses import dataclass

CELERY_RECORD_PREFIX = "celery-task-meta-"
"""Where Celery's result backends look (celery/backends/base.py, `task_keyprefix`)."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of one installation's keys and channels.

    Attributes:
        prefix: REDIS_PREFIX.
    """

    prefix: str = ""

    def channel(self, task_id: str) -> str:
        """Return the channel that the events are published on."""
        return f"{self.prefix}task_updates:{task_id}"

    def stream(self, task_id: str) -> str:
        """Return the stream of the events; its entry ids are the event ids."""
        return f"{self.prefix}task_events:{task_id}"

    def fence(self, task_id: str) -> str:
        """Return the hash that the script decides by: token, sequence, attempt, end, cancel."""
        return f"{self.prefix}task_fence:{task_id}"

    def celery_record(self, task_id: str) -> str:
        """Return the key and channel of the result record that `AsyncResult` reads."""
        return f"{self.prefix}{CELERY_RECORD_PREFIX}{task_id}"


unprefixed = Keys()
"""The names where REDIS_PREFIX is empty."""

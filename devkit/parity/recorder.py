"""Watching one job from outside: its channels while it runs, its rows and keys at the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from redis import Redis, RedisError

from devkit.parity.history import History, Row
from shared.database.statements import fetch_all
from shared.errors import ServiceUnavailable
from shared.events import keys
from shared.jobs.model import Job
from shared.wiring import Services

MESSAGE_TIMEOUT_SECONDS = 5.0

_SELECTS = {
    "generation_jobs": "SELECT to_jsonb(r) AS row FROM generation_jobs r WHERE id = %(id)s",
    "generation_attempts": (
        "SELECT to_jsonb(r) AS row FROM generation_attempts r WHERE job_id = %(id)s ORDER BY number"
    ),
    "images": "SELECT to_jsonb(r) AS row FROM images r WHERE job_id = %(id)s ORDER BY position",
}


class Recorder:
    """Hears every channel of the jobs from the moment it is made.

    Raises:
        ServiceUnavailable: Redis cannot be reached.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        # Of its own: the services' client decodes, and bytes are to be compared.
        self._redis = Redis.from_url(services.settings.redis_url, protocol=2, socket_timeout=5)
        self._heard: list[tuple[str, bytes]] = []
        self._ears = self._redis.pubsub()  # type: ignore[no-untyped-call] # redis-py has no types
        with _naming_redis():
            self._ears.psubscribe(keys.channel("*"), keys.celery_record("*"))
            self._hear_all()

    def close(self) -> None:
        """Stop hearing."""
        self._ears.close()
        self._redis.close()

    def messages_of(self, job: Job) -> list[bytes]:
        """Return what has come on the job's channel so far, byte for byte.

        Raises:
            ServiceUnavailable: Redis cannot be reached.
        """
        with _naming_redis():
            self._hear_all()
        return self._heard_on(keys.channel(job.task_id))

    def record(self, job: Job) -> History:
        """Return all that can be seen of the job now.

        Raises:
            ServiceUnavailable: A server cannot be reached.
        """
        messages = self.messages_of(job)
        images = self._rows("images", job.id)
        with _naming_redis():
            entries: Any = self._redis.xrange(keys.stream(job.task_id))
            result: Any = self._redis.get(keys.celery_record(job.task_id))
            expiring = self._expiring_keys(job.task_id)
        return History(
            messages=messages,
            stream=[_entry_text(fields) for _, fields in entries],
            results=self._heard_on(keys.celery_record(job.task_id)),
            result=result,
            expiring=expiring,
            job=self._rows("generation_jobs", job.id)[0],
            attempts=self._rows("generation_attempts", job.id),
            images=images,
            digests=[
                sha256(self._services.image_store.load(row["storage_key"])).hexdigest()
                for row in images
            ],
        )

    def _rows(self, table: str, job_id: UUID) -> list[Row]:
        found = fetch_all(self._services.engine, _SELECTS[table], {"id": str(job_id)})
        return [row.row for row in found]

    def _expiring_keys(self, task_id: str) -> dict[str, bool]:
        found: Any = self._redis.scan_iter(match=f"*{task_id}*", count=1000)
        expiring = {}
        for key in found:
            ttl_ms: Any = self._redis.pttl(key)
            expiring[key.decode()] = ttl_ms > 0
        return expiring

    def _heard_on(self, channel: str) -> list[bytes]:
        return [data for heard_on, data in self._heard if heard_on == channel]

    def _hear_all(self) -> None:
        """Hear what was published up to now: Redis keeps the order, so a mark shows the end."""
        mark = uuid4().hex.encode()
        self._redis.publish(keys.channel("parity"), mark)
        while True:
            message: Any = self._ears.get_message(timeout=MESSAGE_TIMEOUT_SECONDS)
            if message is None:
                raise ServiceUnavailable("Redis: the channel is silent")
            if message["data"] == mark:
                return
            if message["type"] == "pmessage":
                self._heard.append((message["channel"].decode(), message["data"]))


def _entry_text(fields: Mapping[bytes, bytes]) -> bytes:
    return b" ".join(name + b"=" + value for name, value in fields.items())


@contextmanager
def _naming_redis() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise ServiceUnavailable(f"Redis: {error}"[:200]) from error

"""What can be seen of one job from outside: read from PostgreSQL, Redis and the image store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from redis import Redis

from shared.database.statements import fetch_all
from shared.errors import ServiceUnavailable
from shared.events.connection import reporting_unavailability
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

_STARTS = (
    "SELECT job_id FROM generation_attempts WHERE job_id = ANY(%(ids)s::uuid[]) ORDER BY started_at"
)
_RELEASED_BEFORE = (
    "SELECT count(*) AS ahead FROM generation_jobs WHERE id = ANY(%(others)s::uuid[])"
    " AND dispatched_at < (SELECT dispatched_at FROM generation_jobs WHERE id = %(id)s)"
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """All that PostgreSQL, Redis and the image store show of one job.

    Attributes:
        messages: What was published on its channel, byte for byte.
        stream: The entries of its stream.
        results: The result records as they were published, oldest first.
        result: The result record that is kept; None if there is none.
        expiring: The keys of Redis that bear the task id, each with whether it has a TTL.
        job: The row of `generation_jobs`, all columns.
        attempts: The rows of `generation_attempts`, by number.
        images: The rows of `images`, by position.
        digests: SHA-256 of the bytes that the image store returns, by position.
        order: Of all attempts of the job and its backlog, whose each was; empty unless one ran
            after the other.
        ahead: How many jobs of the backlog were released before the job's last attempt. When they
            start says less: a message may wait for a process that is being started.
    """

    messages: Sequence[bytes]
    stream: Sequence[bytes]
    results: Sequence[bytes]
    result: bytes | None
    expiring: Mapping[str, bool]
    job: Row
    attempts: Sequence[Row]
    images: Sequence[Row]
    digests: Sequence[str]
    order: Sequence[str] = ()
    ahead: int = 0


class Recorder:
    """Receives what is published on the channels of all jobs from the moment it is made.

    Its methods raise ServiceUnavailable while a server cannot be reached.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys = services.settings.redis_keys
        # Not the client of the services, which decodes: bytes are compared.
        self._redis = Redis.from_url(services.settings.redis_url, protocol=2, socket_timeout=5)
        self._published: list[tuple[str, bytes]] = []
        self._pubsub = self._redis.pubsub()  # type: ignore[no-untyped-call] # redis-py has no types
        with reporting_unavailability():
            self._pubsub.psubscribe(self._keys.channel("*"), self._keys.celery_record("*"))
            self._receive_all()

    def close(self) -> None:
        """Close the connections to Redis."""
        self._pubsub.close()
        self._redis.close()

    def messages_of(self, job: Job) -> list[bytes]:
        """Return what was published on the job's channel so far, byte for byte."""
        with reporting_unavailability():
            self._receive_all()
        return self._published_on(self._keys.channel(job.task_id))

    def record(self, job: Job, others: Sequence[Job] = (), *, is_serial: bool = True) -> History:
        """Return all that can be seen of the job now.

        Args:
            job: Of the scenario.
            others: Its backlog.
            is_serial: Whether they ran one after the other.
        """
        messages = self.messages_of(job)
        images = self._rows("images", job)
        store = self._services.image_store
        starts = self._starts([job, *others]) if is_serial else []
        with reporting_unavailability():
            entries: Any = self._redis.xrange(self._keys.stream(job.task_id))
            result: Any = self._redis.get(self._keys.celery_record(job.task_id))
            found: Any = list(self._redis.scan_iter(match=f"*{job.task_id}*", count=1000))
            lifetimes: list[Any] = [self._redis.pttl(key) for key in found]
        return History(
            messages=messages,
            stream=[b" ".join(map(b"=".join, fields.items())) for _, fields in entries],
            results=self._published_on(self._keys.celery_record(job.task_id)),
            result=result,
            expiring={key.decode(): ms > 0 for key, ms in zip(found, lifetimes, strict=True)},
            job=self._rows("generation_jobs", job)[0],
            attempts=self._rows("generation_attempts", job),
            images=images,
            digests=[sha256(store.load(row["storage_key"])).hexdigest() for row in images],
            order=["job" if job_id == job.id else "other" for job_id in starts],
            ahead=self._count_ahead(job, others),
        )

    def _rows(self, table: str, job: Job) -> list[Row]:
        found = fetch_all(self._services.engine, _SELECTS[table], {"id": str(job.id)})
        return [row.row for row in found]

    def _starts(self, jobs: Sequence[Job]) -> list[UUID]:
        """Return whose attempts began, in their order."""
        parameters = {"ids": [str(job.id) for job in jobs]}
        return [
            UUID(str(row.job_id)) for row in fetch_all(self._services.engine, _STARTS, parameters)
        ]

    def _count_ahead(self, job: Job, others: Sequence[Job]) -> int:
        parameters = {"id": str(job.id), "others": [str(other.id) for other in others]}
        return int(fetch_all(self._services.engine, _RELEASED_BEFORE, parameters)[0].ahead)

    def _published_on(self, channel: str) -> list[bytes]:
        return [data for name, data in self._published if name == channel]

    def _receive_all(self) -> None:
        """Receive what was published up to now: Redis keeps the order, so a mark shows the end."""
        mark = uuid4().hex.encode()
        self._redis.publish(self._keys.channel("parity"), mark)
        while True:
            message: Any = self._pubsub.get_message(timeout=MESSAGE_TIMEOUT_SECONDS)
            if message is None:
                raise ServiceUnavailable("Redis: the channel is silent")
            if message["data"] == mark:
                return
            if message["type"] == "pmessage":
                self._published.append((message["channel"].decode(), message["data"]))

"""A worker in this process: the real handler on real servers, with a provider that obeys."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Engine

from shared.deadline import Deadline, MainThreadInterrupt
from shared.events.event import parse_event
from shared.events.keys import unprefixed as keys
from shared.events.publisher import EventPublisher
from shared.generation.announce import Announcer
from shared.generation.charges import ChargePolicy
from shared.generation.ending import AttemptEnding
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.generation.lease import LeaseKeeper
from shared.generation.outcome import Outcome
from shared.imaging.models import Models, OfferedModel
from shared.imaging.provider import ImageProvider
from shared.imaging.providers.declaration import Offer
from shared.imaging.service import ImageService
from shared.imaging.store import ImageStore
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Job
from shared.jobs.retry import RetryPolicy
from tests.support.channel import RedisClient
from tests.support.database import Database

WHOLE_JOB = [
    "pending 0 Queued",
    "processing 5 Starting...",
    "processing 10 Processing...",
    "processing 50 Rendering...",
    "processing 90 Rendering...",
    "processing 95 Saving...",
    "completed 100 Completed",
]
"""The events of a job of `ScriptedProvider`, in short."""


class RuntimeLimit(Exception):
    """What the soft limit of the runtime of these tests raises."""


class Worker:
    """Runs jobs one after another.

    Args:
        lease_seconds: Of its leases, which it extends four times within them.
        is_stopping: Whether it received the signal to stop.
    """

    def __init__(
        self,
        engine: Engine,
        publisher: EventPublisher,
        provider: ImageProvider,
        image_store: ImageStore,
        *,
        lease_seconds: float = 30,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        attempts = AttemptStore(
            engine,
            runtime="celery",
            owner="host:1",
            lease_seconds=lease_seconds,
            time_limit_seconds=lease_seconds * 4,
        )
        announcer = Announcer(JobStore(engine), publisher)
        charges = ChargePolicy("retry")
        models = Models([OfferedModel("scripted", Offer("scripted-1"))])
        self._handler = GenerationHandler(
            attempts,
            publisher,
            LeaseKeeper(attempts, lease_seconds, MainThreadInterrupt()),
            models,
            ImageService({"scripted": provider}),
            image_store,
            charges,
            AttemptEnding(attempts, announcer, RetryPolicy(0, 0), charges, models),
            RuntimeTraits((RuntimeLimit,), is_stopping),
        )

    def run(self, job_id: UUID | str, soft_limit_seconds: float = 20) -> Outcome:
        """Handle one envelope."""
        return self._handler.handle(str(job_id), Deadline(soft_limit_seconds))


Hire = Callable[..., Worker]
Published = Callable[[Job], list[str]]


def published_steps(redis: RedisClient, job: Job) -> list[str]:
    """Return the steps that a job's stream holds, in short."""
    entries = redis.xrange(keys.stream(job.task_id))
    steps = [parse_event(str(entry_id), fields["event"]).step for entry_id, fields in entries]
    return [f"{step.status.value} {step.progress} {step.message}" for step in steps]


def ledger(database: Database, job_id: UUID) -> list[tuple[object, ...]]:
    """Return number, outcome and charge of each attempt."""
    return [
        (row["number"], row["outcome"], row["charge_state"]) for row in database.attempts(job_id)
    ]

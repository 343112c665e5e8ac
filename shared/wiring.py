"""The composition root of entry points and programs that submit jobs: settings in, services out."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import TYPE_CHECKING
from uuid import UUID

from redis import Redis
from sqlalchemy import Engine

from shared import tracing
from shared.breaker import Breaker
from shared.database.session import create_pooled_engine, create_unpooled_engine
from shared.deadline import MainThreadInterrupt
from shared.events.connection import connect_redis, refuse_cluster_mode, reporting_unavailability
from shared.events.event import FROM_THE_START, Event
from shared.events.publisher import EventPublisher
from shared.extras import going_without, naming_extras
from shared.generation.announce import Announcer
from shared.generation.charges import ChargePolicy
from shared.generation.ending import AttemptEnding
from shared.generation.handler import GenerationHandler, RuntimeTraits
from shared.generation.lease import LeaseKeeper
from shared.generation.purchases import OpenBills
from shared.generation.release import Releaser
from shared.generation.saved_images import SavedImages
from shared.imaging.service import ImageService
from shared.imaging.store import ImageStore
from shared.jobs.attempt_store import AttemptStore
from shared.jobs.dispatcher import Dispatcher
from shared.jobs.job_store import JobStore
from shared.jobs.recovery_store import RecoveryStore
from shared.jobs.release_store import ReleaseRules, ReleaseStore
from shared.jobs.workspace_limits import Budget, SubmissionLimits
from shared.settings import Settings

# What a worker does not need is imported where it is used: this package's import is part of
# every cold start.
if TYPE_CHECKING:
    from shared.access.api_keys import ApiKeyStore
    from shared.database.foreign import ForeignConnection
    from shared.generation.asset_keeper import AssetKeeper
    from shared.generation.delete import Deleter
    from shared.generation.follow import EventFollower
    from shared.generation.submit import Submitter
    from shared.generation.sweep import Sweeper, SweepReport
    from shared.imaging.request import GenerationRequest
    from shared.jobs.model import Job
    from shared.jobs.rejected_store import RejectedStore
    from shared.jobs.views import JobViews
    from shared.metrics.store import MetricStore
    from shared.webhooks.sender import Show, WebhookSender
    from shared.webhooks.store import WebhookStore


class Services(AbstractContextManager["Services"]):
    """Everything a program may ask of Darkroom; each part is made when it is first needed.

    Safe to make before a fork if it is first used after it.

    Args:
        runtime: `celery`, `lambda` or the name of a tool: for the ledger and the connections.
        dispatcher: Where envelopes go; None means SQS if QUEUE_URL is set, else Celery.
        image_store: Where bytes go; None means IMAGE_BUCKET if it is set, else IMAGE_DIR.
        is_pooled: False for a process that forks: each use of PostgreSQL connects anew.
        threads: How many may use these services at once.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        runtime: str = "client",
        dispatcher: Dispatcher | None = None,
        image_store: ImageStore | None = None,
        is_pooled: bool = True,
        threads: int = 2,
    ) -> None:
        self.settings = settings
        self._runtime = runtime
        self._dispatcher = dispatcher
        self._is_pooled = is_pooled
        self._threads = threads
        if image_store is not None:
            self.image_store = image_store
        if settings.otel_exporter_otlp_endpoint is not None:
            with going_without("tracing"):
                from shared.adapters.open_telemetry import start_tracing

                start_tracing(settings)

    def __exit__(self, *_error: object) -> None:
        self.close()

    def submit(
        self, request: "GenerationRequest", connection: "ForeignConnection | None" = None
    ) -> "Job":
        """Accept a job, on request in the transaction of a connection; see `Submitter.submit`."""
        return self.submitter.submit(request, connection)

    def release(self) -> None:
        """Start jobs that wait in their rows: after the commit of a caller's own transaction."""
        self.releaser.release_or_leave()

    def get(self, job_id: UUID, workspace_id: str | None = None) -> "Job":
        """Return a job as its row says; see `JobStore.get`."""
        return self.jobs.get(job_id, workspace_id)

    def cancel(self, job_id: UUID, workspace_id: str | None = None) -> "Job":
        """Ask for the end of a job; see `Announcer.cancel`."""
        return self.announcer.cancel(job_id, workspace_id)

    def follow(
        self, job_id: UUID, workspace_id: str | None = None, after_id: str = FROM_THE_START
    ) -> Iterator[Event]:
        """Yield the events of a job to its end; see `EventFollower.follow`."""
        return self.follower.follow(job_id, workspace_id, after_id)

    def sweep(self) -> "SweepReport":
        """Finish what others left undone; see `Sweeper.sweep`."""
        return self.sweeper.sweep()

    def check_redis(self) -> None:
        """Make a round trip to Redis; raise ServiceUnavailable if it does not answer."""
        with reporting_unavailability():
            self.redis.ping()

    def refuse_cluster_mode(self) -> None:
        """Check Redis at the start of a process; see `connection.refuse_cluster_mode`."""
        refuse_cluster_mode(self.redis, self.settings.redis_keys)

    def prepare(self) -> None:
        """Make the parts that serve requests now, so that no request waits for an import."""
        _ = self.keys, self.submitter, self.announcer, self.deleter, self.assets
        _ = self.follower, self.views, self.checks()

    def checks(self) -> "dict[str, Callable[[], None]]":
        """Return a check of each server that requests need; it raises ServiceUnavailable."""
        return {
            "database": self.views.check,
            "redis": self.check_redis,
            "queue": self.dispatcher.check,
            "workers": self.releases.check_workers,
        }

    def build_handler(
        self, traits: RuntimeTraits, interrupt: MainThreadInterrupt
    ) -> GenerationHandler:
        """Return what runs jobs; one a process, made after its last fork."""
        settings = self.settings
        charges = ChargePolicy(settings.on_unknown_charge, settings.provider.is_free)
        providers = {each.name: each.connect(settings) for each in settings.providers}
        attempts = AttemptStore(
            self.engine,
            runtime=self._runtime,
            owner=process_owner(),
            lease_seconds=settings.lease_seconds,
            time_limit_seconds=settings.time_limit,
            models=settings.models.providers,
            later=[each.name for each in settings.providers if each.makes_later],
            open_charge=charges.of_open_call.value,
            budget=Budget(*settings.budget),
        )
        return GenerationHandler(
            attempts,
            self.publisher,
            LeaseKeeper(attempts, settings.lease_seconds, interrupt),
            settings.models,
            ImageService(providers),
            self.image_store,
            charges,
            AttemptEnding(
                attempts, self.announcer, settings.retry_policy, charges, settings.models
            ),
            traits,
            OpenBills(attempts, providers),
        )

    def close(self) -> None:
        """Close the connections that were made."""
        tracing.flush()
        if "engine" in self.__dict__:
            self.engine.dispose()
        if "redis" in self.__dict__:
            self.redis.close()

    @cached_property
    def engine(self) -> Engine:
        """The connections to PostgreSQL."""
        url, schema = self.settings.database_url, self.settings.database_schema
        name = f"darkroom-{self._runtime}-{os.getpid()}"
        if self._is_pooled:
            return create_pooled_engine(url, name, self._threads, schema)
        return create_unpooled_engine(url, name, schema)

    @cached_property
    def redis(self) -> Redis:
        """The connections to Redis, for events."""
        return connect_redis(self.settings.redis_url, self._threads + 2)

    @cached_property
    def jobs(self) -> JobStore:
        """The rows of jobs."""
        settings = self.settings
        return JobStore(self.engine, settings.database_schema, makes_owners=settings.auto_create)

    @cached_property
    def publisher(self) -> EventPublisher:
        """The one writer of events."""
        return EventPublisher(
            self.redis,
            ttl_seconds=self.settings.event_ttl_seconds,
            stream_length=self.settings.event_stream_max_length,
            breaker=self._redis_breaker,
            keys=self.settings.redis_keys,
        )

    @cached_property
    def announcer(self) -> Announcer:
        """What announces the ends of jobs."""
        return Announcer(self.jobs, self.publisher, self.saved_images)

    @cached_property
    def saved_images(self) -> SavedImages:
        """What completes jobs from images that were saved."""
        return SavedImages(lambda: self.image_store, RecoveryStore(self.engine))

    @cached_property
    def submitter(self) -> "Submitter":
        """What accepts jobs."""
        from shared.generation.submit import Submitter

        return Submitter(
            self.jobs,
            self.publisher,
            self.releaser,
            *(self.settings.max_attempts, self.settings.models),
            *(self.webhooks, lambda: self.assets),
        )

    @cached_property
    def deleter(self) -> "Deleter":
        """What deletes jobs with their images, and tidies up."""
        from shared.access.audit import AuditStore
        from shared.generation.delete import Deleter
        from shared.generation.old_images import OldImages

        settings, audit = self.settings, AuditStore(self.engine).forget
        deliveries = self.webhooks.forget_deliveries
        return Deleter(
            self.jobs,
            self.image_store,
            settings.retention_days,
            {
                "deliveries": partial(deliveries, settings.webhook_retention_days),
                "audit": partial(audit, settings.audit_retention_days),
            },
            lambda: self.assets.delete_outdated(settings.asset_retention_days),
            OldImages(self.jobs, self.image_store, settings.image_retention_days).delete,
        )

    @cached_property
    def webhooks(self) -> "WebhookStore":
        """The webhooks of workspaces."""
        from shared.webhooks.store import WebhookStore

        return WebhookStore(self.engine, allows_private=self.settings.webhook_private_networks)

    def build_webhook_sender(self, show: "Show") -> "WebhookSender":
        """Return what sends deliveries of webhooks; see `WebhookSender`."""
        from shared.webhooks.sender import build_sender

        return build_sender(self.engine, self.settings, show)

    @cached_property
    def assets(self) -> "AssetKeeper":
        """What takes in and deletes uploaded pictures."""
        from shared.generation.asset_keeper import AssetKeeper
        from shared.jobs.asset_store import AssetStore

        settings = self.settings
        store = AssetStore(self.engine, settings.max_assets, makes_owners=settings.auto_create)
        return AssetKeeper(store, self.image_store)

    @cached_property
    def follower(self) -> "EventFollower":
        """What reads the events of jobs."""
        from shared.events.reader import StreamReader
        from shared.generation.follow import EventFollower

        return EventFollower(self.jobs, StreamReader(self.redis, self.settings.redis_keys))

    @cached_property
    def keys(self) -> "ApiKeyStore":
        """The API keys of workspaces."""
        from shared.access.api_keys import ApiKeyStore

        return ApiKeyStore(self.engine)

    @cached_property
    def views(self) -> "JobViews":
        """Jobs and pictures as clients see them."""
        from shared.jobs.views import JobViews

        return JobViews(self.engine, self.releases.rules)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """What puts envelopes on the queue."""
        if self._dispatcher is not None:
            return self._dispatcher
        with naming_extras():
            if self.settings.queue_url:
                from shared.adapters.sqs_queue import SqsDispatcher

                return SqsDispatcher(self.settings)
            from shared.adapters.celery_queue import CeleryDispatcher

            return CeleryDispatcher(self.settings)

    @cached_property
    def submission_limits(self) -> SubmissionLimits:
        """What a workspace without limits of its own may submit over HTTP."""
        settings = self.settings
        budget = Budget(*settings.budget)
        return SubmissionLimits(settings.max_open_jobs, settings.max_submissions_per_minute, budget)

    @cached_property
    def releases(self) -> ReleaseStore:
        """The queue in the rows."""
        settings, runtime = self.settings, "lambda" if self.settings.queue_url else "celery"
        own, *others = (provider.name for provider in settings.providers)
        limits = settings.max_running_jobs, others, settings.provider_limits
        return ReleaseStore(self.engine, ReleaseRules(runtime, own, *limits))

    @cached_property
    def rejected(self) -> "RejectedStore":
        """The envelopes that named no job."""
        from shared.jobs.rejected_store import RejectedStore

        return RejectedStore(self.engine, self._runtime)

    @cached_property
    def metrics(self) -> "MetricStore":
        """The numbers of all jobs."""
        from shared.metrics.store import MetricStore

        return MetricStore(self.engine, self.settings.provider.name)

    @cached_property
    def releaser(self) -> Releaser:
        """What moves jobs from their rows to the queue."""
        # Celery's envelopes lie in the same Redis as the events.
        is_in_redis = self._dispatcher is None and not self.settings.queue_url
        breaker = self._redis_breaker if is_in_redis else Breaker()
        return Releaser(self.releases, self.dispatcher, breaker)

    @cached_property
    def _redis_breaker(self) -> Breaker:
        return Breaker()

    @cached_property
    def image_store(self) -> ImageStore:
        """Where the bytes of images are kept."""
        if self.settings.image_bucket is not None:
            with naming_extras():
                from shared.adapters.s3_images import S3ImageStore

            return S3ImageStore(self.settings)
        from shared.adapters.disk_images import DiskImageStore

        return DiskImageStore(self.settings.image_dir)

    @cached_property
    def sweeper(self) -> "Sweeper":
        """The recovery of what others left undone."""
        from shared.generation.sweep import Sweeper

        return Sweeper(
            RecoveryStore(self.engine),
            self.publisher,
            self.announcer,
            self.releaser,
            self.saved_images,
            time_limit_seconds=self.settings.time_limit,
            count_metrics=self.metrics.count,
        )


def build_services(settings: Settings) -> Services:
    """Return the services of a program that submits, follows and cancels jobs."""
    return Services(settings)


def process_owner(pid: int | None = None) -> str:
    """Return the name under which a process of this machine holds leases."""
    return f"{socket.gethostname()}:{pid or os.getpid()}"

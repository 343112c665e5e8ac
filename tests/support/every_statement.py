"""Runs every statement of the stores in a crowd, as the API, workers, sweeps and commands do."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from uuid import UUID, uuid4

from sqlalchemy import Engine

from shared.access.api_keys import ApiKeyStore, UnknownKey
from shared.access.audit import AuditStore
from shared.errors import DarkroomError, InvalidRequest, TooManyOpenJobs, WorkerLost
from shared.jobs.acceptance import Terms
from shared.jobs.asset_store import AssetPage, AssetStore, NewAsset
from shared.jobs.attempt_store import AttemptStore, KeptLease, StoredPreview
from shared.jobs.job_store import JobStore
from shared.jobs.model import BoughtImage, Claim
from shared.jobs.overview import COST_GROUPS, FAILURE_GROUPS, QUEUE_GROUPS, Overview
from shared.jobs.recovery_store import RecoveryStore
from shared.jobs.rejected_store import RejectedStore
from shared.jobs.release_store import ReleaseRules, ReleaseStore
from shared.jobs.views import JobViews, PageQuery
from shared.jobs.workspace_limits import Budget, LimitStore, SubmissionLimits
from shared.metrics.store import MetricStore
from shared.status import SAVING, JobStatus, failed, waiting
from shared.webhooks.outbox import Answer, DueDelivery, Outbox
from shared.webhooks.store import WebhookChange, WebhookStore
from tests.support.builders import PAID, image_row, new_job
from tests.support.database import Database

RULES = ReleaseRules("celery", "mock")
LIMITS = SubmissionLimits(1_000_000)
PAID_BY_BUDGET = SubmissionLimits(1_000_000, budget=Budget(10**9, 10**10))
HOURS = 2 * 3600.0


class EveryStatement:
    """Runs all that there is; each method a part of the product.

    Args:
        database: Filled by `tests.support.crowd.fill`.
    """

    def __init__(self, engine: Engine, database: Database) -> None:
        self._database = database
        self._engine = engine
        self._jobs = JobStore(engine)
        self._owned = JobStore(engine, makes_owners=True)
        self._views = JobViews(engine, RULES)
        self._releases = ReleaseStore(engine, RULES)
        limits = {"other": {"calls": 1}, "mock": {"calls": 100, "a_minute": 100}}
        self._limited = ReleaseStore(engine, replace(RULES, provider_limits=limits))
        self._recovery = RecoveryStore(engine)
        self._limits = LimitStore(engine)
        self._rejected = RejectedStore(engine, "celery")
        self._assets = AssetStore(engine)
        self._overview = Overview(engine)
        self._keys = ApiKeyStore(engine)
        self._audit = AuditStore(engine)
        self._webhooks = WebhookStore(engine, allows_private=True)
        self._metrics = MetricStore(engine, "mock")
        self._outbox = Outbox(engine, lease_seconds=30, failing_seconds=100)
        self._attempts = AttemptStore(
            engine,
            runtime="celery",
            owner="host:1",
            lease_seconds=30,
            time_limit_seconds=100,
            models={"mock-1": "mock"},
        )

    def run(self) -> None:
        """Run every statement at least once."""
        self._releases.note_worker(f"host:{uuid4()}", 5, "0", 600)
        self._operate()
        self._accept()
        self._read()
        self._release()
        self._attempt()
        self._recover()
        self._keep_house()
        self._send_webhooks()

    def _find(self, where: str) -> UUID:
        [row] = self._database.fetch(f"SELECT id FROM generation_jobs WHERE {where} LIMIT 1")
        return UUID(row["id"])

    def _accept(self) -> None:
        for workspace_id in ("w0", "w3", "w5"):
            terms = Terms(LIMITS, key=str(uuid4()), request_sha256="x", release=RULES)
            asset = NewAsset(uuid4(), workspace_id, None, str(uuid4()), "image/png", 1, 1, 1, None)
            self._assets.insert(asset)
            request = replace(
                new_job(workspace_id=workspace_id), reference_asset_ids=[asset.id] * 2
            )
            self._jobs.accept(request, terms)
            self._jobs.accept(request, terms)
            self._jobs.quote(request, LIMITS)
            of_user = replace(terms, key=None, user_open_jobs=1_000)
            self._owned.accept(replace(request, user_id=f"u-{workspace_id}"), of_user)
            with self._engine.execution_options(isolation_level="READ COMMITTED").begin() as own:
                self._owned.insert_within(own, request)
            self._owned.accept(replace(request, user_id=str(uuid4())), replace(terms, key=None))
            with suppress(TooManyOpenJobs):
                self._jobs.accept(request, Terms(SubmissionLimits(1), release=RULES, key="near"))

        paid = replace(new_job(workspace_id="w5"), quoted_microdollars=1)
        self._jobs.accept(paid, Terms(PAID_BY_BUDGET, release=RULES))

    def _read(self) -> None:
        now = datetime.now(UTC)
        queries = [
            PageQuery(100, statuses, product_id, created_after, created_before)
            for statuses, product_id, created_after, created_before in product(
                (None, *([status] for status in JobStatus), [JobStatus.FAILED, JobStatus.PENDING]),
                (None, "p-w0", "p-unknown"),
                (None, now - timedelta(minutes=1)),
                (None, now - timedelta(days=10), now - timedelta(days=19)),
            )
        ]
        queries += [replace(query, product_id=None, model="mock-1") for query in queries]
        queries += [
            PageQuery(100, user_id="u-w0"),
            PageQuery(100, error_code="worker_lost"),
            PageQuery(100, error_code="unknown_code"),
            PageQuery(100, metadata={"order": "17"}),
            PageQuery(100, by_end=True),
            PageQuery(100, [JobStatus.FAILED], by_end=True),
            PageQuery(100, finished_after=now - timedelta(minutes=1), by_end=True),
        ]
        before = (now - timedelta(days=10), uuid4())
        for query in (*queries, *(replace(query, before=before) for query in queries)):
            self._views.page("w0", query)
        for workspace_id in ("w0", "w1", "w5"):
            for order in ("DESC", "ASC"):
                where = f"workspace_id = '{workspace_id}' AND status = 'PENDING'"
                fresh = "dispatched_at IS NULL AND next_attempt_at IS NULL"
                self._views.get(
                    self._find(f"{where} AND {fresh} ORDER BY created_at {order}"), workspace_id
                )
        ended = self._find("status = 'COMPLETED' AND workspace_id = 'w0'")
        self._views.get(ended, "w0")
        self._jobs.get(ended)
        self._jobs.find_ended([ended])
        [image] = self._database.fetch("SELECT id FROM images LIMIT 1")
        with suppress(DarkroomError):
            self._views.get_image(UUID(image["id"]), "w0")
        [preview] = self._database.fetch("SELECT id FROM previews LIMIT 1")
        with suppress(DarkroomError):
            self._views.get_preview(UUID(preview["id"]), "w0")
        self._views.check()
        new = NewAsset(uuid4(), "w0", None, str(uuid4()), "image/png", 1, 1, 1, None)
        self._assets.insert(new)
        self._assets.get(new.id, "w0")
        for product_id, after in product((None, "p-w0"), (None, (now, uuid4()))):
            self._assets.list("w0", AssetPage(100, product_id, after))
        self._assets.delete(new.id, "w0", lambda: None)

    def _release(self) -> None:
        self._releases.find_room()
        released = self._releases.release()
        self._releases.find_open(0)
        self._releases.withdraw(released[:20], were_sent=True)
        self._releases.find_next_due_seconds()
        self._limited.release()
        self._limited.find_next_due_seconds()
        self._releases.set_alarm(10)
        self._releases.forget_worker("host:9")

    def _claim(self) -> Claim:
        [released] = self._database.fetch(
            "SELECT id FROM generation_jobs WHERE status = 'PENDING' AND start_by IS NULL"
            " AND dispatched_at IS NOT NULL LIMIT 1"
        )
        claim = self._attempts.claim(UUID(released["id"]))
        assert isinstance(claim, Claim), claim
        return claim

    def _attempt(self) -> None:
        attempts, claim = self._attempts, self._claim()
        attempts.earlier_calls(claim)
        with suppress(InvalidRequest):
            attempts.picture_keys(replace(claim, picture_ids=(uuid4(),)))
        attempts.extend([KeptLease(claim.job_id, claim.token, SAVING)])
        attempts.find_standing(claim)
        attempts.note_preview(claim, StoredPreview(0, "x", "image/png", 1, 1))
        attempts.forget_previews(claim)
        attempts.note_purchase(claim, purchase := uuid4(), 0)
        attempts.name_purchase(claim.job_id, BoughtImage(purchase, 0, "x", "x", 1))
        attempts.settle_purchase(claim.job_id, purchase, "charged", 1)
        attempts.take_bills(5, 5)
        attempts.note_overtaken(claim, PAID)
        attempts.complete(claim, [image_row(0, uuid4())], {"images": [], "missing": 0}, PAID)
        self._jobs.mark_announced(claim.job_id)
        error = {"code": "x", "message": "x"}
        attempts.fail(self._claim(), failed(10, "x"), error, PAID)
        attempts.retry(self._claim(), waiting(2, 3), error, PAID, 10)
        attempts.release(self._claim(), waiting(1, 3))
        given_up = self._claim()
        attempts.give_up(given_up)
        self._limits.pause_provider("mock")
        attempts.claim(self._find("status = 'PENDING' AND dispatched_at IS NOT NULL"))
        self._limits.resume_provider("mock")
        self._attempts.hold_provider("other", 10)
        self._jobs.request_cancel(self._find("task_id = 'waiting-101'"))

    def _recover(self) -> None:
        recovery = self._recovery
        lost, *others = recovery.find_lost(100)
        recovery.settle(lost, WorkerLost(1), 10)
        recovery.complete(others[0], [image_row(0, uuid4())], {"images": []}, {"code": "x"})
        recovery.find_of_dead_owner(self._find("task_id = 'running-8'"), "host:8")
        recovery.withdraw_envelope(self._find("status = 'PENDING' AND dispatched_at IS NOT NULL"))
        recovery.end_late(100)
        recovery.find_unannounced(100)
        self._jobs.find_of_task("envelope-8")
        self._jobs.find_of_task("waiting-103")

    def _keep_house(self) -> None:
        self._jobs.count_ended()
        outdated = self._jobs.find_outdated(10, None)
        self._jobs.find_outdated(10, outdated)
        assert outdated is not None
        oldest = self._jobs.find_old_image(0, None)
        self._jobs.find_old_image(0, oldest)
        self._jobs.forget_images(outdated.id)
        self._jobs.delete(outdated.id)
        self._jobs.find_unknown([uuid4(), outdated.id])
        upload = NewAsset(uuid4(), "w0", None, str(uuid4()), "image/png", 1, 1, 1, "0" * 64)
        self._assets.insert(upload)
        self._assets.find_outdated(0, self._assets.find_outdated(0, None))
        self._jobs.forget_idempotency_keys(100)
        self._webhooks.forget_deliveries(5, 100)
        self._rejected.note(WorkerLost(1), "x")

    def _operate(self) -> None:
        overview, limits = self._overview, self._limits
        self._metrics.count(100)
        self._metrics.read()
        self._metrics.spent()
        overview.queue()
        overview.queue_by(QUEUE_GROUPS, "mock")
        overview.newest(100)
        overview.newest(100, [JobStatus.FAILED], "p-w1", "m")
        overview.workers()
        overview.running(50)
        overview.throughput()
        overview.health()
        overview.failures(HOURS, FAILURE_GROUPS)
        overview.costs(HOURS, COST_GROUPS)
        overview.stuck()
        list(islice(overview.failed(30 * 86_400, code="worker_lost", provider="mock"), 100))
        list(islice(overview.failed(30 * 86_400, code="unknown"), 100))
        limits.list()
        limits.list_paused(50)
        limits.set("w4", {"open_jobs": 100})
        limits.pause("w4")
        limits.resume("w4")
        limits.paused_providers()
        _key, text = self._keys.create("w4", "x", makes_workspace=True)
        self._keys.find(text)
        self._keys.list("w4")
        self._keys.find_revoked(["k4", "k5"])
        with suppress(UnknownKey):
            self._keys.revoke("k4")
        with suppress(UnknownKey), self._audit.noted("x", "revoke key", "key k4"):
            self._keys.revoke("k4")
        self._audit.list(100, before=10**9)
        self._audit.forget(365, 100)
        self._rejected.list(100)

    def _send_webhooks(self) -> None:
        webhooks = self._webhooks
        webhook, _secret = webhooks.create("w4", "http://shop/", ["generation.failed"])
        webhooks.change("w4", webhook.id, WebhookChange(is_enabled=False))
        webhooks.delete("w4", webhook.id)
        webhooks.list_failing()
        [own] = webhooks.list("w1")
        webhooks.deliveries("w1", own.id, 100, before=10**9)
        page = webhooks.deliveries("w1", own.id, 100)
        webhooks.resend("w1", page[-1].id)
        webhooks.resend_since(own.id, 1, with_delivered=False)
        taken: list[DueDelivery] = []
        while len(taken) < 2:
            taken += self._outbox.take(100)[0]
        self._outbox.note(taken[0], Answer(200), None)
        self._outbox.note(taken[1], Answer(500, "x"), 60)
        self._rejected.purge()

"""What a contract test sees of a runtime: jobs in, messages, rows and records out, and faults.

Tests never ask which runtime they are on.
"""

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import psycopg2
import psycopg2.extras
from redis import Redis

from devkit.harness import harness
from devkit.runtimes import RuntimeProcess
from devkit.stack import EmbeddedPostgres, EmbeddedRedis, EmbeddedServer, StackOptions
from shared.database.session import search_path_of
from shared.events.event import parse_event
from shared.imaging.request import GenerationRequest
from shared.jobs.acceptance import NewJob
from shared.jobs.model import Job
from shared.status import JobStatus, Step, rendering
from tests.support.api import KEYED, OPEN, PAGE, SMALL, Api, ApiWithFewFiles
from tests.support.channel_tap import ChannelTap
from tests.support.logs import LogFile
from tests.support.queues import CeleryQueue, SqsQueue
from tests.support.wait import wait_until
from tests.support.waits import Wait, note_waits, noted_waits

TIMINGS = {
    "SOFT_TIME_LIMIT": "3",
    "TIME_LIMIT": "5",
    "LEASE_SECONDS": "1.5",
    "SWEEP_SECONDS": "0.5",
    "DISPATCH_GRACE_SECONDS": "3",
    "RETRY_BACKOFF": "1",
    "RETRY_BACKOFF_MAX": "2",
    "SHUTDOWN_GRACE_SECONDS": "1.5",
    "MOCK_STEP_SECONDS": "0.05",
}
"""All limits are shortened by settings; the lease stays well below the time limit."""

SLOTS = 2

_OPTIONS = {
    "celery": StackOptions(persistent_redis=True),
    "lambda": StackOptions(
        with_sqs=True, persistent_redis=True, visibility_timeout_seconds=30, max_receive_count=4
    ),
}


@dataclass(frozen=True)
class Rows:
    """The rows of one job, each as a mapping of its columns."""

    job: Mapping[str, Any]
    attempts: list[Mapping[str, Any]]
    images: list[Mapping[str, Any]]


class Runtime:
    """One runtime with servers of its own; made once a session."""

    def __init__(self, name: str, folder: Path, timings: Mapping[str, str] = TIMINGS) -> None:
        self._name, self._folder = name, folder
        self._apis: dict[str, Api] = {}
        self.image_dir = folder / "images"
        self.log_path = folder / "runtime.log"
        self._undo = contextlib.ExitStack()
        ground = self._undo.enter_context(harness(_OPTIONS[name]))
        self._stack = ground.stack
        self.environment = ground.environment(**self._own(timings), IMAGE_DIR=str(self.image_dir))
        self.services = ground.open_services(self.environment)
        self.settings = self.services.settings
        self.process = ground.add(RuntimeProcess(name, self.environment, self.log_path, SLOTS))
        self.log = LogFile(self.log_path)
        self.queue = CeleryQueue(self.settings) if name == "celery" else SqsQueue(self._stack)
        self.channel = ChannelTap(self.settings.redis_url, self.settings.redis_keys)
        self._connection: Any = None
        with self.database() as cursor:
            note_waits(cursor)
        ground.start()

    def environment_with(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process with own settings; SQS serves its own key alone."""
        return {**self.environment, **self._own(settings)}

    def _own(self, settings: Mapping[str, str]) -> dict[str, str]:
        dropped = () if self._stack.sqs is None else ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        return {name: value for name, value in settings.items() if name not in dropped}

    # -- jobs in ---------------------------------------------------------------------------

    def submit(self, prompt: str, **request: Any) -> Job:
        """Submit a job through the Python API."""
        return self.services.submit(GenerationRequest(prompt=prompt, **{**SMALL, **request}))

    def accept(self, prompt: str, **request: Any) -> Job:
        """Commit a job's row and nothing else, as a process that dies right after does."""
        wanted = GenerationRequest(prompt=prompt, **{**SMALL, **request})
        params, attempts = wanted.params().as_row(), self.settings.max_attempts
        provider = self.settings.providers[0].name  # without it, workers would be notified
        new = NewJob(wanted.workspace_id, None, None, params, attempts, provider)
        return self.services.jobs.insert(new)

    def write_row(self, params: Mapping[str, Any]) -> Job:
        """Write a job's row as a foreign producer may: its params, and no word to anybody."""
        with self.database() as cursor:
            cursor.execute(
                "INSERT INTO generation_jobs (workspace_id, params) VALUES ('default', %s)"
                " RETURNING id",
                (json.dumps(params),),
            )
            return self.services.get(UUID(str(cursor.fetchone()["id"])))

    def dispatch(self, job: Job) -> None:
        """Put one more envelope of the job on the queue."""
        self.services.dispatcher.dispatch(job.id, str(uuid4()))

    @property
    def api(self) -> Api:
        """The HTTP API as in production: with keys. Started at its first use."""
        return self._api("keyed", KEYED)

    @property
    def open_api(self) -> Api:
        """The HTTP API as on a laptop: without keys, and with low limits."""
        return self._api("open", OPEN)

    @property
    def page_api(self) -> Api:
        """The HTTP API as on a laptop: without keys, and with the limits of the defaults."""
        return self._api("page", PAGE)

    @contextlib.contextmanager
    def api_with_few_files(self) -> Iterator[Api]:
        """Give an HTTP API with keys that may open few files, for the length of a block."""
        log_path = self._folder / "few-files-api.log"
        api = Api(self._name, self.environment, KEYED, log_path, ApiWithFewFiles)
        with contextlib.closing(api):
            yield api

    def _api(self, kind: str, settings: Mapping[str, str]) -> Api:
        if kind not in self._apis:
            log_path = self._folder / f"{kind}-api.log"
            self._apis[kind] = Api(self._name, self.environment, settings, log_path)
        return self._apis[kind]

    @property
    def apis(self) -> list[Api]:
        """Those that were started."""
        return list(self._apis.values())

    # -- what comes out --------------------------------------------------------------------

    def finish(self, job: Job, within: float = 30) -> Rows:
        """Wait for the end of a job, announced, and return its rows."""

        def ended() -> Rows | None:
            rows = self.rows(job)
            return rows if rows.job["announced_at"] is not None else None

        return wait_until(ended, within, f"job {job.id} to end and be announced")

    def job_is_announced(self, job: Mapping[str, Any]) -> bool:
        """Return whether the end of a job was announced."""
        return self.services.get(UUID(job["id"])).announced_at is not None

    def steps(self, job: Job) -> list[Step]:
        """Return the steps in the job's stream so far."""
        entries: Any = self.redis_client.xrange(self.settings.redis_keys.stream(job.task_id))
        return [parse_event(id_, fields["event"]).step for id_, fields in entries]

    def messages(self, job: Job, at_least: int) -> list[str]:
        """Return the messages of the job's channel, byte for byte, once so many have come."""
        wait_until(
            lambda: len(self.channel.of(job.task_id)) >= at_least, 10, f"{at_least} messages"
        )
        return self.channel.of(job.task_id)

    def rows(self, job: Job) -> Rows:
        """Read the job's rows from the database."""
        key = (str(job.id),)
        with self.database() as cursor:
            cursor.execute("SELECT * FROM generation_jobs WHERE id = %s", key)
            row = cursor.fetchone()
            assert row is not None
            cursor.execute(
                "SELECT * FROM generation_attempts WHERE job_id = %s ORDER BY number", key
            )
            attempts = cursor.fetchall()
            cursor.execute("SELECT * FROM images WHERE job_id = %s ORDER BY position", key)
            return Rows(row, attempts, cursor.fetchall())

    def wait_for_step(self, job: Job, progress: int, within: float = 20, attempt: int = 1) -> None:
        """Wait until an attempt of the job has published at least this progress."""

        def reached() -> bool:
            started = 0
            for step in self.steps(job):
                started += step.progress == 5 and step.status is JobStatus.PROCESSING
                if started == attempt and step.progress >= progress:
                    return True
            return False

        wait_until(reached, within, f"attempt {attempt} of job {job.id} to reach {progress}")

    def provider_calls(self, job: Job) -> int:
        """Return how often the provider was called: each call publishes its first step."""
        return sum(step == rendering(30) for step in self.steps(job))

    def saved_keys(self, job: Job) -> list[str]:
        """Return the keys of all pictures of a job that lie in the image store."""
        saved = (self.image_dir / str(job.id)).glob("*/*")
        return sorted(
            str(path.relative_to(self.image_dir)) for path in saved if path.suffix != ".json"
        )

    def waits(self, job: Job) -> list[Wait]:
        """Return when the job began to wait for another attempt, and until when."""
        with self.database() as cursor:
            return noted_waits(cursor, job.id)

    def record(self, job: Job) -> Mapping[str, Any] | None:
        """Return the Celery result record of the job."""
        data = self.redis_client.get(self.settings.redis_keys.celery_record(job.task_id))
        return None if data is None else json.loads(str(data))

    def log_lines(self) -> list[Mapping[str, Any]]:
        """Return the JSON lines that the runtime has logged since the session began."""
        return self.log.lines()

    # -- faults ----------------------------------------------------------------------------

    def worker_pid(self, job: Job) -> int:
        """Return the process that holds the job's lease."""

        def holder() -> str | None:
            owner: str | None = self.rows(job).job["lease_owner"]
            return owner

        owner = wait_until(holder, 20, f"a worker to claim job {job.id}")
        return int(owner.rpartition(":")[2])

    def kill_worker(self, job: Job) -> None:
        """Kill -9 the process that runs the job."""
        os.kill(self.worker_pid(job), signal.SIGKILL)

    @contextlib.contextmanager
    def frozen_worker(self, job: Job) -> Iterator[None]:
        """Stop the process that runs the job, and let it go on afterwards."""
        process = psutil.Process(self.worker_pid(job))
        process.suspend()
        try:
            yield
        finally:
            # Its runtime kills even a frozen process at its time limit.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the runtime from taking jobs: its main process stands still meanwhile."""
        process = psutil.Process(self.process.pid)
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def kill_machine(self) -> None:
        """Kill -9 every process of the runtime, as a machine that is lost."""
        self.process.kill()

    def start(self) -> None:
        """Start the runtime again after it was killed or stopped."""
        self.process.start()

    def stop(self) -> None:
        """Stop the runtime in order, and wait for it."""
        self.process.stop()

    @contextlib.contextmanager
    def locked_row(self, *jobs: Job) -> Iterator[None]:
        """Hold a lock on the rows of jobs: every writer waits, for lock_timeout at most."""
        with contextlib.closing(psycopg2.connect(self.postgres.url)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM generation_jobs WHERE id = ANY(%s::uuid[]) FOR UPDATE",
                    ([str(job.id) for job in jobs],),
                )
            yield
            connection.rollback()

    @contextlib.contextmanager
    def locked_images(self) -> Iterator[None]:
        """Keep all from writing rows of images: a finish waits, for lock_timeout at most."""
        with contextlib.closing(psycopg2.connect(self.postgres.url)) as connection:
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE images IN EXCLUSIVE MODE")
            yield
            connection.rollback()

    def pid_waiting_for_lock(self, within: float = 20) -> int:
        """Return the process of the runtime whose statement waits for a lock."""

        def waiting() -> int | None:
            with self.database() as cursor:
                cursor.execute(
                    "SELECT application_name FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND application_name LIKE 'darkroom-%'"
                )
                row = cursor.fetchone()
            found = re.search(r"-(\d+)$", row["application_name"]) if row else None
            return int(found.group(1)) if found else None

        return wait_until(waiting, within, "a worker to wait for the locked row")

    # -- servers ---------------------------------------------------------------------------

    @property
    def redis(self) -> EmbeddedRedis:
        """The Redis server, to be killed, frozen and restarted; keeps its data."""
        assert self._stack.redis is not None
        return self._stack.redis

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The PostgreSQL server, to be killed and restarted; keeps its data."""
        assert self._stack.postgres is not None
        return self._stack.postgres

    @property
    def queue_server(self) -> EmbeddedServer:
        """The server that keeps the envelopes."""
        return self._stack.sqs or self.redis

    @property
    def redis_client(self) -> Redis:
        """A client that decodes what it reads."""
        return self.services.redis

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        """Yield a cursor, in autocommit, whose rows are mappings."""
        if not _answers(self._connection):
            self._connection = psycopg2.connect(self.postgres.url)
            self._connection.autocommit = True
            if path := search_path_of(self.settings.database_schema):
                self._connection.cursor().execute(path)
        with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            yield cursor

    def make_ready(self) -> None:
        """Bring everything up that a test before has left down, or cut off from here."""
        self.services.engine.dispose()
        for server in self._stack.servers:
            if not server.is_running:
                server.start()
        for process in (self.process, *(api.process for api in self.apis)):
            if not process.is_running:
                process.start()

    def forget_jobs(self) -> None:
        """Delete all jobs, their keys and envelopes, assets, webhooks: the next test has none."""
        with self.database() as cursor:
            for table in ("webhooks", "generation_jobs", "assets", "workspace_costs"):
                cursor.execute(f"DELETE FROM {table}")
        shutil.rmtree(self.image_dir / "assets", ignore_errors=True)
        for pattern in ("task_*", "celery-task-meta-*", "open_*:*"):
            for key in self.redis_client.scan_iter(f"{self.settings.redis_prefix}{pattern}"):
                self.redis_client.delete(key)
        self.queue.clear()

    def close(self) -> None:
        """End everything."""
        for api in self.apis:
            api.close()
        self.channel.close()
        self._connection.close()
        self._undo.close()


def _answers(connection: Any) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (AttributeError, psycopg2.OperationalError, psycopg2.InterfaceError):
        return False
    return True

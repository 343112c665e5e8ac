"""Playing scenarios: a job is submitted, something is done to it, and its history recorded.

A play is a generator that yields whenever it would wait, so that one thread plays a scenario on
several runtimes at once. It sees a runtime only through `Services`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from io import BytesIO
from typing import Any, TypeVar
from uuid import UUID, uuid4

from PIL import Image

from devkit.environment import adopted, without_aws
from devkit.harness import Harness, harness
from devkit.parity.backlog import held_back, submit_others
from devkit.parity.history import History, Recorder
from devkit.parity.scenarios import SIZE, Action, Backlog, Scenario
from devkit.runtimes import RUNTIMES, RuntimeProcess
from devkit.stack import StackOptions
from shared.adapters.celery_broker import broker_url
from shared.errors import ConfigurationError
from shared.events.connection import reporting_unavailability
from shared.imaging.request import GenerationRequest
from shared.jobs.acceptance import NewJob
from shared.jobs.model import Job
from shared.jobs.release_store import OpenEnvelope
from shared.settings import Settings
from shared.wiring import Services

LIMITS = {
    "MOCK_STEP_SECONDS": "0.05",
    "SOFT_TIME_LIMIT": "3",
    "TIME_LIMIT": "5",
    # Far from TIME_LIMIT: a lease that runs up to it means that the limit was reached.
    "LEASE_SECONDS": "1.2",
    "SWEEP_SECONDS": "0.4",
    # Where the queue of Lambda counts messages of killed functions too.
    "DISPATCH_GRACE_SECONDS": "3",
    # No backoff: its jitter differs between any two runs. Retry-After is waited for all the same.
    "RETRY_BACKOFF": "0",
}
END_TIMEOUT_SECONDS = 40.0
POLL_SECONDS = 0.02

_AWAITED = {
    Action.CANCEL_RUNNING: b'"progress": 30',
    Action.DISPATCH_WHILE_RUNNING: b'"progress": 30',
    Action.EMPTY_REDIS_RUNNING: b'"progress": 30',
    Action.CANCEL_BETWEEN_ATTEMPTS: b"Retrying",
    Action.EMPTY_REDIS_BETWEEN_ATTEMPTS: b"Retrying",
}
"""What is to be seen on the channel before something is done."""

_CANCELLED = (Action.CANCEL_QUEUED, Action.CANCEL_RUNNING, Action.CANCEL_BETWEEN_ATTEMPTS)
_EMPTIED = (
    Action.EMPTY_REDIS_QUEUED,
    Action.EMPTY_REDIS_RUNNING,
    Action.EMPTY_REDIS_BETWEEN_ATTEMPTS,
)
_DISPATCHED_BEFORE_END = (Action.CANCEL_QUEUED, Action.WRITE_ROW, Action.DISPATCH_WHILE_RUNNING)
_LEFT_AN_ENVELOPE = (Action.CANCEL_QUEUED, Action.DISPATCH_WHILE_RUNNING, Action.DISPATCH_AFTER_END)

T = TypeVar("T")
Play = Generator[None, None, T]


@contextmanager
def both_runtimes() -> Iterator[tuple[Harness, Mapping[str, Services]]]:
    """Start both runtimes on embedded servers, with limits of seconds.

    Each has a database, a Redis database and an image store of its own. Yields the services by
    runtime. No setting of the environment counts.

    Raises:
        ConfigurationError: This machine lacks something.
        ServiceUnavailable: A server or a runtime did not come up.
    """
    ours = {name.upper() for name in Settings.model_fields}
    given = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    with adopted(without_aws(given)), harness(StackOptions(with_sqs=True)) as ground:
        ground.log_to_folder()
        services = {}
        for number, name in enumerate(RUNTIMES):
            environment = ground.environment(**LIMITS, **_addresses(ground, name, number))
            services[name] = ground.open_services(environment)
            ground.add(RuntimeProcess(name, environment, ground.folder / f"{name}.log"))
        ground.start()
        yield ground, services


def _addresses(ground: Harness, runtime_name: str, redis_database: int) -> dict[str, str]:
    stack = ground.stack
    if stack.postgres is None or stack.redis is None:
        raise ConfigurationError("parity needs embedded servers")
    return {
        "DATABASE_URL": stack.postgres.create_database(f"parity_{runtime_name}"),
        "REDIS_URL": f"{stack.redis.url}?db={redis_database}",
        "IMAGE_DIR": str(ground.folder / f"images-{runtime_name}"),
        "QUEUE_URL": stack.environment["QUEUE_URL"] if runtime_name == "lambda" else "",
    }


def play_together(plays: Iterable[Play[T]]) -> list[T]:
    """Carry the plays on side by side until all have ended; return what each came to."""
    results: dict[int, T] = {}
    going = dict(enumerate(plays))
    while going:
        for number, play in list(going.items()):
            try:
                next(play)
            except StopIteration as end:
                results[number] = end.value
                del going[number]
        time.sleep(POLL_SECONDS)
    return [results[number] for number in sorted(results)]


def play(scenario: Scenario, services: Services) -> Play[History]:
    """Play one scenario and return its job's history.

    A job that does not end in time is recorded as it is then.

    Raises:
        ServiceUnavailable: A server cannot be reached.
    """
    backlog = scenario.backlog or Backlog()
    with (
        closing(Recorder(services)) as recorder,
        held_back(scenario.backlog, services) as let_go,
    ):
        others = submit_others(backlog.before, backlog, services)
        job = _begin(scenario, services)
        others += submit_others(backlog.after, backlog, services)
        yield from _act(scenario.action, job, services, recorder)
        if scenario.action is not Action.STAY_PAUSED:
            let_go()
        yield from _wait_for_end(services, job, *others)
        if scenario.action is Action.DISPATCH_AFTER_END:
            _dispatch(services, job)
            _dispatch(services, job)
        if scenario.action in _LEFT_AN_ENVELOPE:
            # It came later, and takes longer, than an envelope that is only to be refused.
            last = services.submit(GenerationRequest(prompt="The last one", size=SIZE))
            yield from _wait_for_end(services, last)
        return recorder.record(job, others, is_serial=backlog.is_serial)


def _act(action: Action, job: Job, services: Services, recorder: Recorder) -> Play[None]:
    """Do to the job what the scenario says, once it is to be done."""
    if action in _AWAITED:
        mark = _AWAITED[action]
        yield from _wait_until(lambda: any(mark in line for line in recorder.messages_of(job)))
    if action in _CANCELLED:
        services.cancel(job.id)
    if action is Action.REVOKE_QUEUED:
        yield from _revoke(job, services)
    if action in _EMPTIED:
        with reporting_unavailability():
            services.redis.flushdb()
    if action in _DISPATCHED_BEFORE_END:
        _dispatch(services, job)


def _revoke(job: Job, services: Services) -> Play[None]:
    """Cancel the job as an operator does; with Celery by its command line, once it has ended."""
    if services.settings.queue_url:
        services.cancel(job.id)
        return
    command = [sys.executable, "-m", "celery", "-b", broker_url(services.settings.redis_url)]
    revoking = subprocess.Popen(  # noqa: S603 - our own program
        [*command, "control", "revoke", job.task_id],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield from _wait_until(lambda: revoking.poll() is not None)
    # A job that may not start yet is let go only once its end is known.
    yield from _wait_for_end(services, job)


def _begin(scenario: Scenario, services: Services) -> Job:
    """Submit the job; one that is acted on before it runs gets no envelope yet."""
    match scenario.action:
        case Action.WRITE_ROW:  # as a foreign producer does, unchecked
            return services.jobs.insert(NewJob("default", None, None, scenario.request, 3))
        case Action.CANCEL_QUEUED | Action.LOSE_ENVELOPE:
            with Services(services.settings, dispatcher=_Delayed()) as delaying:
                return delaying.submit(GenerationRequest.from_untrusted(scenario.request))
        case _:
            pictures = _upload_pictures(services) if scenario.shows_pictures else {}
            return services.submit(GenerationRequest.from_untrusted(scenario.request | pictures))


def _upload_pictures(services: Services) -> dict[str, Any]:
    """Upload two pictures, and a mask that is all transparent; return the fields of a request."""
    ids = []
    for colour in ("teal", "gold", (0, 0, 0, 0)):
        file = BytesIO()
        Image.new("RGB" if isinstance(colour, str) else "RGBA", (60, 40), colour).save(file, "PNG")
        ids.append(str(services.assets.upload("default", file.getvalue()).id))
    return {"source_asset_id": ids[0], "reference_asset_ids": ids[1:2], "mask_asset_id": ids[2]}


class _Delayed:
    """A dispatcher that sends no envelope; the play may send it later."""

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Do nothing."""

    def find_lost(self, envelopes: Sequence[OpenEnvelope], running: int) -> list[OpenEnvelope]:
        """Find none."""
        return []

    def check(self) -> None:
        """Find nothing wrong."""


def _dispatch(services: Services, job: Job) -> None:
    services.dispatcher.dispatch(job.id, str(uuid4()))


def _wait_for_end(services: Services, *jobs: Job) -> Play[None]:
    """Wait until the jobs have ended and their last events are out."""
    for job in jobs:
        yield from _wait_until(partial(_is_announced, services, job.id))


def _is_announced(services: Services, job_id: UUID) -> bool:
    return services.get(job_id).announced_at is not None


def _wait_until(predicate: Callable[[], bool]) -> Play[None]:
    give_up_at = time.monotonic() + END_TIMEOUT_SECONDS
    while not predicate() and time.monotonic() < give_up_at:
        yield

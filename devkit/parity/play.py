"""Playing scenarios: a job is submitted, something is done to it, and its history recorded.

A play is a generator that yields whenever it would wait, so that one thread plays a scenario on
several runtimes at once. It sees a runtime only through `Services`.
"""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import TypeVar
from uuid import UUID, uuid4

from devkit.parity.history import History
from devkit.parity.recorder import Recorder
from devkit.parity.scenarios import SIZE, Action, Scenario
from shared.imaging.request import GenerationRequest
from shared.jobs.job_store import NewJob
from shared.jobs.model import Job
from shared.jobs.release_store import OpenEnvelope
from shared.wiring import Services

END_TIMEOUT_SECONDS = 40.0
POLL_SECONDS = 0.02

_SEEN_WHILE_RUNNING = b'"progress": 30'

T = TypeVar("T")
Play = Generator[None, None, T]


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
    with closing(Recorder(services)) as recorder:
        scene = _Scene(scenario, services, recorder)
        job = yield from scene.begin()
        yield from scene.wait_for_end(job)
        yield from scene.finish(job)
        return recorder.record(job)


class _Scene:
    """One scenario being played."""

    def __init__(self, scenario: Scenario, services: Services, recorder: Recorder) -> None:
        self._scenario = scenario
        self._services = services
        self._recorder = recorder

    def begin(self) -> Play[Job]:
        """Submit the job, and do what is to be done before its end."""
        match self._scenario.action:
            case Action.WRITE_ROW:
                return self._write_row()
            case Action.CANCEL_QUEUED:
                return self._cancel_queued()
        job = self._submit()
        match self._scenario.action:
            case Action.CANCEL_RUNNING:
                yield from self._wait_while_it_runs(job)
                self._services.cancel(job.id)
            case Action.DISPATCH_WHILE_RUNNING:
                yield from self._wait_while_it_runs(job)
                self._dispatch(job)
        return job

    def wait_for_end(self, job: Job) -> Play[None]:
        """Wait until the job has ended and its last event is out."""
        yield from _wait_until(lambda: self._services.get(job.id).announced_at is not None)

    def finish(self, job: Job) -> Play[None]:
        """Do what is to be done after the end; wait until envelopes that are left were seen."""
        action = self._scenario.action
        if action is Action.DISPATCH_AFTER_END:
            self._dispatch(job)
            self._dispatch(job)
        if action in (
            Action.DISPATCH_AFTER_END,
            Action.DISPATCH_WHILE_RUNNING,
            Action.CANCEL_QUEUED,
        ):
            # It came later, and takes longer, than an envelope that is only to be refused.
            last = self._services.submit(GenerationRequest(prompt="The last one", size=SIZE))
            yield from self.wait_for_end(last)

    def _submit(self) -> Job:
        return self._services.submit(GenerationRequest.from_untrusted(self._scenario.request))

    def _dispatch(self, job: Job) -> None:
        self._services.dispatcher.dispatch(job.id, str(uuid4()))

    def _write_row(self) -> Job:
        """Do as a foreign producer does: a row that nobody checked, and an envelope."""
        params = self._scenario.request
        job = self._services.jobs.insert(NewJob("default", None, None, params, 3))
        self._dispatch(job)
        return job

    def _cancel_queued(self) -> Job:
        """Cancel the job before its envelope has reached a worker."""
        with Services(self._services.settings, dispatcher=_Delayed()) as services:
            job = services.submit(GenerationRequest.from_untrusted(self._scenario.request))
        self._services.cancel(job.id)
        self._dispatch(job)
        return job

    def _wait_while_it_runs(self, job: Job) -> Play[None]:
        yield from _wait_until(
            lambda: any(
                _SEEN_WHILE_RUNNING in message for message in self._recorder.messages_of(job)
            )
        )


class _Delayed:
    """A dispatcher of which no envelope comes; the scene sends it later."""

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Do nothing."""

    def find_lost(self, envelopes: Sequence[OpenEnvelope], running: int) -> list[OpenEnvelope]:
        """Find none."""
        return []

    def check(self) -> None:
        """Find nothing wrong."""


def _wait_until(predicate: Callable[[], bool]) -> Play[None]:
    give_up_at = time.monotonic() + END_TIMEOUT_SECONDS
    while not predicate() and time.monotonic() < give_up_at:
        yield

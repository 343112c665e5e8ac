"""Following a job by its Server-Sent Events, across every end of a connection.

A stream may end at any time: the Lambda API answers in portions, servers restart, addresses
expire. A client that reconnects with the last id misses nothing, so this does, until the last
event. `generate`, `follow` and `demo` share it.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from cli.api_client import ApiClient
from cli.display import Display
from cli.errors import ApiProblem, ApiUnreachable, describe_error
from shared.api.schemas import ImageBody, JobBody
from shared.events.event import Event, parse_event
from shared.status import JobStatus

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
SILENT_FAILURES = 1
"""One lost connection is normal: the next one goes on."""

RECONNECT_SECONDS = 1.0
"""Between a normal end of a stream and the next connection, until the API says how long."""

NO_CONTENT = 204

T = TypeVar("T")


class Patience:
    """Waits between tries, longer each time, for as long as it takes.

    Args:
        say: Called when the API becomes unavailable, and when it answers again.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failures = 0

    def wait(self, error: ApiProblem | ApiUnreachable) -> None:
        """Wait before the next try; raise the error if that cannot help."""
        if isinstance(error, ApiProblem) and not error.is_passing:
            raise error
        self._failures += 1
        if self._failures == SILENT_FAILURES + 1:
            self._say(f"{error.detail}; trying on")
        seconds = FIRST_WAIT_SECONDS * 2 ** min(self._failures - 1, 10)
        time.sleep(min(max(seconds, error.retry_after_seconds or 0), LONGEST_WAIT_SECONDS))

    def succeeded(self) -> None:
        """Begin anew: the API has answered."""
        if self._failures > SILENT_FAILURES:
            self._say("the API answers again")
        self._failures = 0

    def until_it_works(self, call: Callable[[], T]) -> T:
        """Return what the call returns, once the API answers."""
        while True:
            try:
                result = call()
            except (ApiProblem, ApiUnreachable) as error:
                self.wait(error)
            else:
                self.succeeded()
                return result


def follow_events(client: ApiClient, job: JobBody, patience: Patience) -> Iterator[Event]:
    """Yield the events of a job once, in order, to the last.

    Waits for the API for as long as it takes. Ends early where the API answers 204.

    Raises:
        ApiProblem: The job cannot be followed, say because there is none.
    """
    job_id, last_id = job.id, None
    reconnect_seconds = RECONNECT_SECONDS
    is_renewed = False
    while True:
        try:
            with client.open_events(job, last_id) as source:
                patience.succeeded()
                is_renewed = False
                if source.response.status_code == NO_CONTENT:
                    return
                for message in source.iter_sse():
                    if message.retry is not None:
                        reconnect_seconds = message.retry / 1000
                    if message.data:
                        event = parse_event(message.id, message.data)
                        last_id = event.id
                        yield event
                        if event.is_last:
                            return
            time.sleep(reconnect_seconds)
        except ApiProblem as problem:
            if problem.status != 401 or is_renewed:
                patience.wait(problem)
                continue
            # Its address has expired, and the job has a new one.
            job = patience.until_it_works(lambda: client.get(job_id))
            is_renewed = True
        except ApiUnreachable as error:
            patience.wait(error)


class JobFollower:
    """Shows a job to its end.

    Its methods wait for the API for as long as it takes, and raise ApiProblem where the job cannot
    be followed, say because there is none.
    """

    def __init__(
        self, client: ApiClient, job: JobBody, shown: Display, patience: Patience | None = None
    ) -> None:
        self._client = client
        self._job = job
        self._shown = shown
        self._patience = patience or Patience(shown.note)

    def finish(self) -> JobBody:
        """Show each event, to the last; return the job as it ended."""
        attempts = -1
        for event in follow_events(self._client, self._job, self._patience):
            self._shown.show(event.step)
            if event.step.status is JobStatus.PENDING:
                attempts += 1
                if attempts:
                    self._explain_wait(attempts)
        return self.get()

    def get(self) -> JobBody:
        """Return the job as it is now."""
        return self._patience.until_it_works(lambda: self._client.get(self._job.id))

    def load(self, image: ImageBody) -> bytes:
        """Return the bytes of an image."""
        return self._patience.until_it_works(lambda: self._client.load(image))

    def _explain_wait(self, number: int) -> None:
        """Say why an attempt is followed by another, and when that comes."""
        job = self.get()
        error = next((line.error for line in job.attempts if line.number == number), None)
        if error is not None:
            self._shown.note(f"attempt {number} failed: {describe_error(error)}")
        if job.retry is not None:
            at = job.retry.next_attempt_at
            seconds = max(0.0, (at - datetime.now(UTC)).total_seconds())
            name = f"attempt {job.retry.attempt} of {job.retry.max_attempts}"
            self._shown.note(f"{name} comes in {seconds:.0f} s, at {at.astimezone():%H:%M:%S}")

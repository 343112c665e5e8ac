"""Following a job by its Server-Sent Events, across every end of a connection.

A stream may end at any time: the Lambda API answers in portions, servers restart, addresses
expire. A client that reconnects with the last id misses nothing, so this does, until the last
event.
"""

import time
from collections.abc import Iterator

from cli.api_client import ApiClient
from cli.errors import ApiProblem, ApiUnreachable
from cli.patience import Patience
from shared.api.schemas import JobBody
from shared.events.event import Event, parse_event

RETRY_SECONDS = 1.0
"""Between a normal end of a stream and the next connection, until the API says how long."""

NO_CONTENT = 204


class JobEvents:
    """Yields the events of a job once, in order, to the last."""

    def __init__(self, client: ApiClient, job: JobBody, patience: Patience) -> None:
        self._client = client
        self._job = job
        self._patience = patience
        self._retry_seconds = RETRY_SECONDS
        self._last_id: str | None = None
        self._is_over = False
        self._is_renewed = False

    def __iter__(self) -> Iterator[Event]:
        """Yield until the job has ended, waiting for the API for as long as it takes.

        Nothing more is yielded if the API answers 204.

        Raises:
            ApiProblem: The job cannot be followed, say because there is none.
        """
        while not self._is_over:
            try:
                yield from self._connect()
            except ApiUnreachable as error:
                self._patience.wait(error)
            except ApiProblem as problem:
                self._recover(problem)
            else:
                self._pause()

    def _connect(self) -> Iterator[Event]:
        with self._client.open_events(self._job, self._last_id) as source:
            self._is_over = source.response.status_code == NO_CONTENT
            self._patience.succeeded()
            self._is_renewed = False
            if self._is_over:
                return
            for message in source.iter_sse():
                if message.retry is not None:
                    self._retry_seconds = message.retry / 1000
                if not message.data:
                    continue
                event = parse_event(message.id, message.data)
                self._last_id = event.id
                self._is_over = event.is_last
                yield event
                if self._is_over:
                    return

    def _pause(self) -> None:
        if not self._is_over:
            time.sleep(self._retry_seconds)

    def _recover(self, problem: ApiProblem) -> None:
        """Get a new address for one that has expired; wait for everything else that passes."""
        if problem.status != 401 or self._is_renewed:
            self._patience.wait(problem)
            return
        self._job = self._patience.until_it_works(lambda: self._client.get(self._job.id))
        self._is_renewed = True

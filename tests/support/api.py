"""The HTTP API of a runtime as a test sees it: requests in, answers and events out, and faults."""

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from devkit.runtimes import ApiProcess
from devkit.stack.server import free_port
from shared.access.api_keys import ApiKeyStore
from shared.database.session import create_unpooled_engine
from shared.jobs.model import Job
from tests.support.logs import LogFile
from tests.support.wait import wait_until

SMALL = {"size": "256x256", "seed": 7}
PATIENCE_SECONDS = 40.0
OTHER_WORKSPACE = "other-shop"
SIGNING_KEY = "0123456789abcdef0123456789abcdef"

SHOP_ORIGIN = "https://shop.example"

KEYED = {
    "REQUIRE_API_KEYS": "true",
    "CORS_ORIGINS": SHOP_ORIGIN,
    "SIGNING_KEY": SIGNING_KEY,
    "EVENT_WINDOW_SECONDS": "4",
}
"""As in production: no request is served without a key."""

OPEN = {
    "EVENT_WINDOW_SECONDS": "20",
    "EVENT_TOKEN_SECONDS": "1",
    "IMAGE_TOKEN_SECONDS": "1",
    "MAX_OPEN_JOBS": "3",
    "MAX_STREAMS": "2",
    "MAX_REQUESTS_PER_MINUTE": "5",
    "MAX_ASSETS": "4",
}
"""As on a laptop, without keys; and with limits that a test can reach. Keys count where sent."""

PAGE = {"EVENT_WINDOW_SECONDS": "4"}
"""As on a laptop, without keys; and with the limits that are the defaults."""


http_get = partial(httpx.get, timeout=PATIENCE_SECONDS)
http_post = partial(httpx.post, timeout=PATIENCE_SECONDS)
http_options = partial(httpx.options, timeout=PATIENCE_SECONDS)
"""As httpx has them, with patience: several Lambda sandboxes may have to start at once."""


@dataclass(frozen=True)
class ReceivedEvent:
    """One event as it came over HTTP."""

    id: str
    data: str

    @property
    def step(self) -> Mapping[str, Any]:
        """The three keys."""
        step: Mapping[str, Any] = json.loads(self.data)
        return step

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.step["status"] in ("completed", "failed")


class ApiWithFewFiles(ApiProcess):
    """An API that may open few files, also in its children."""

    files = 256

    def _spawn(self, command: Sequence[str | Path], *rest: Any) -> None:
        limited = f'ulimit -n {self.files} && exec "$@"'
        super()._spawn(["/bin/sh", "-c", limited, "sh", *command], *rest)


class Api:
    """One API process, with keys for two workspaces.

    Args:
        name: Of the runtime.
        environment: Of the runtime's own processes.
        settings: What is different for the API.
        kind: Of its process.
    """

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        settings: Mapping[str, str],
        log_path: Path,
        kind: type[ApiProcess] = ApiProcess,
    ) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.log = LogFile(log_path)
        environment = {**environment, **settings, "API_PORT": str(self._port)}
        self.process = kind(name, environment, log_path)
        self.keys: Mapping[str, str] = {}
        if "REQUIRE_API_KEYS" in settings:
            self.keys = _make_keys(environment)
        self.process.start()
        self.client = self.client_of("default")

    def client_of(self, workspace_id: str | None) -> httpx.Client:
        """Return a client that sends the workspace's key; None for one without a key."""
        key = self.keys.get(workspace_id or "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS)

    def warm(self, at_once: int) -> None:
        """Let so many requests be served at once.

        On a busy machine a Lambda sandbox may take longer to start than what a test waits for.
        """
        with ThreadPoolExecutor(at_once) as threads:
            paths = ["/v1/generations"] * 20 * at_once
            statuses = {answer.status_code for answer in threads.map(self.client.get, paths)}
        assert statuses == {200}, statuses

    def submit(self, prompt: str, **body: Any) -> dict[str, Any]:
        """Submit a job and return it as it was answered."""
        answer = self.client.post("/v1/generations", json={"prompt": prompt, **SMALL, **body})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def upload(self, data: bytes, media_type: str = "image/png") -> str:
        """Upload a picture; return the id of its asset."""
        headers = {"Content-Type": media_type}
        answer = self.client.post("/v1/assets", content=data, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def get(self, job: Mapping[str, Any] | Job) -> dict[str, Any]:
        """Return the job as it is now."""
        job_id = job.id if isinstance(job, Job) else job["id"]
        answer = self.client.get(f"/v1/generations/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def finish(self, job: Mapping[str, Any] | Job) -> dict[str, Any]:
        """Wait for the end of a job and return it."""

        def ended() -> dict[str, Any] | None:
            found = self.get(job)
            return found if found["status"] in ("completed", "failed") else None

        return wait_until(ended, PATIENCE_SECONDS, "the job to end")

    @contextmanager
    def stream(self, url: str, after: str | None = None) -> Iterator[Iterator[ServerSentEvent]]:
        """Open the events of a job; the value yields them as they come, to the response's end."""
        headers = {"Last-Event-ID": after} if after else {}
        with (
            httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as client,
            connect_sse(client, "GET", url, headers=headers) as source,
        ):
            if source.response.status_code != 200:
                source.response.read()
                assert source.response.status_code == 204, source.response.text
                yield iter(())
            else:
                yield source.iter_sse()

    def follow(
        self, url: str, after: str | None = None, cut_after: int = 10**9
    ) -> list[ReceivedEvent]:
        """Follow a job to its end as EventSource does, and return all events.

        Args:
            url: As in the job's `urls.events`.
            after: The last event seen before.
            cut_after: Events after which the connection is cut, each time.
        """
        received: list[ReceivedEvent] = []
        while not (received and received[-1].is_last):
            last_id = received[-1].id if received else after
            try:
                received += self._take(url, last_id, cut_after)
            except httpx.TransportError:
                # The API is being restarted.
                wait_until(self._accepts, PATIENCE_SECONDS, "the API to take connections")
        return received

    def _accepts(self) -> bool:
        """Return whether a connection is taken; asks no process, which another thread may kill."""
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def _take(self, url: str, after: str | None, at_most: int) -> list[ReceivedEvent]:
        received: list[ReceivedEvent] = []
        with self.stream(url, after) as events:
            try:
                for event in events:
                    if event.data:
                        received.append(ReceivedEvent(event.id, event.data))
                    if len(received) >= at_most:
                        break
            except httpx.TransportError:
                # The connection was lost: what came is kept.
                return received
        return received

    def problem(self, answer: httpx.Response) -> tuple[int, str]:
        """Return the status and the code of a problem, checked for its form."""
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        body = answer.json()
        assert body["status"] == answer.status_code
        assert {"type", "title", "detail", "code"} <= set(body)
        assert "\n" not in body["detail"]
        return answer.status_code, str(body["code"])

    def close(self) -> None:
        """End it at once."""
        self.client.close()
        self.process.kill()


def _make_keys(environment: Mapping[str, str]) -> dict[str, str]:
    url = environment["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = create_unpooled_engine(url, "keys-of-tests", environment.get("DATABASE_SCHEMA"))
    keys = ApiKeyStore(engine)
    return {
        workspace_id: keys.create(workspace_id, "tests", makes_workspace=True)[1]
        for workspace_id in ("default", OTHER_WORKSPACE)
    }


def job_id_of(job: Mapping[str, Any]) -> UUID:
    """Return the id of a job that the API has answered with."""
    return UUID(job["id"])

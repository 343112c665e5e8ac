"""The client's way through all that can happen to a connection, against a scripted server."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest

from cli.api_client import ApiClient
from cli.errors import ApiProblem, ApiUnreachable
from cli.following import Patience, follow_events
from cli.generate import submit
from shared.api.documentation import example_jobs
from shared.api.schemas import JobBody
from shared.settings import ClientSettings
from shared.status import JobStatus, Step

JOB_ID = uuid4()
PATH = f"/v1/generations/{JOB_ID}"

QUEUED = Step(JobStatus.PENDING, 0, "Queued")
RENDERING = Step(JobStatus.PROCESSING, 50, "Rendering...")
COMPLETED = Step(JobStatus.COMPLETED, 100, "Completed")

LOST = b""
"""The connection ends without an answer."""


def job_of(token: str) -> dict[str, Any]:
    """Return a job whose events are at an address with this token."""
    urls = {"self": PATH, "events": f"{PATH}/events?token={token}", "cancel": "/"}
    return example_jobs()["queued"] | {"id": str(JOB_ID), "urls": urls}


def answer(status: str, body: bytes = b"", media_type: str = "application/json") -> bytes:
    """Return an HTTP response that ends its connection."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def stream(*steps: tuple[str, Step], rest: bytes = b"") -> bytes:
    """Return a stream of these events, after which the connection ends."""
    frames = "".join(f"id: {event_id}\ndata: {step.as_json()}\n\n" for event_id, step in steps)
    return answer(
        "200 OK", b"retry: 10\n\n: ping\n\n" + frames.encode() + rest, "text/event-stream"
    )


def problem(status: str, code: str) -> bytes:
    """Return a problem."""
    body = {"type": "x", "title": "x", "status": int(status[:3]), "detail": "no", "code": code}
    return answer(status, json.dumps(body).encode(), "application/problem+json")


def found(job: Mapping[str, Any]) -> bytes:
    """Return a job."""
    return answer("200 OK", json.dumps(job).encode())


class ScriptedServer:
    """Gives one answer to each connection, and keeps what was asked."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked: list[str] = []
        self._thread: threading.Thread | None = None

    def answer(self, *answers: bytes) -> None:
        """Give these answers, in turn."""
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def header(self, number: int, name: str) -> str | None:
        """Return a header of a request."""
        lines = (line.partition(": ") for line in self.asked[number].splitlines())
        return next((value for key, _, value in lines if key.lower() == name.lower()), None)

    def close(self) -> None:
        """Stop; every answer must have been asked for."""
        if self._thread is not None:
            self._thread.join(5)
            assert not self._thread.is_alive()
        self._socket.close()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        for content in answers:
            connection, _ = self._socket.accept()
            with connection:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += connection.recv(65_536)
                self.asked.append(asked.decode())
                connection.sendall(content)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Give a server without answers."""
    with closing(ScriptedServer()) as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[ApiClient]:
    """Give a client of the server, with a key."""
    settings = ClientSettings.model_validate(
        {"darkroom_url": server.url, "darkroom_api_key": "dk_secret"}
    )
    with ApiClient(settings) as client:
        yield client


def received(client: ApiClient, say: Callable[[str], None] = print) -> list[tuple[str, Step]]:
    """Follow the job and return its events."""
    job = JobBody.model_validate(job_of("first"))
    return [(event.id, event.step) for event in follow_events(client, job, Patience(say))]


def test_portions_make_one_story(server: ScriptedServer, client: ApiClient) -> None:
    """A normal end is not the end; the address needs no key, and none is sent."""
    server.answer(stream(("1-0", QUEUED)), stream(), stream(("2-0", RENDERING), ("3-0", COMPLETED)))
    assert received(client) == [("1-0", QUEUED), ("2-0", RENDERING), ("3-0", COMPLETED)]
    seen = [server.header(number, "Last-Event-ID") for number in range(3)]
    assert seen == [None, "1-0", "1-0"]
    assert "dk_secret" not in "".join(server.asked)


def test_event_that_was_cut_off_comes_again(server: ScriptedServer, client: ApiClient) -> None:
    """Half an event is none, and a lost connection is no error."""
    half = stream(("1-0", QUEUED), rest=b"id: 2-0\ndata: {}\n\n")[:-8]
    server.answer(half, LOST, stream(("2-0", COMPLETED)))
    assert received(client) == [("1-0", QUEUED), ("2-0", COMPLETED)]
    assert server.header(2, "Last-Event-ID") == "1-0"


def test_expired_address_is_replaced(server: ScriptedServer, client: ApiClient) -> None:
    """The job has a new one; nothing is received twice."""
    server.answer(
        stream(("1-0", QUEUED)),
        problem("401 Unauthorized", "expired_token"),
        found(job_of("second")),
        stream(("2-0", COMPLETED)),
    )
    assert received(client) == [("1-0", QUEUED), ("2-0", COMPLETED)]
    assert server.header(2, "Authorization") == "Bearer dk_secret"
    assert server.asked[3].startswith(f"GET {PATH}/events?token=second ")
    assert server.header(3, "Last-Event-ID") == "1-0"


def test_no_more_events_end_the_iteration(server: ScriptedServer, client: ApiClient) -> None:
    """204 says that every event was received."""
    server.answer(answer("204 No Content"))
    assert received(client) == []


def test_refusal_that_will_not_pass_is_raised(server: ScriptedServer, client: ApiClient) -> None:
    """Coming back would not help."""
    server.answer(problem("404 Not Found", "not_found"))
    with pytest.raises(ApiProblem, match=r"no \(not_found\)"):
        received(client)


def test_a_server_that_is_not_darkroom_is_named(server: ScriptedServer, client: ApiClient) -> None:
    """A page is no stream of events."""
    server.answer(answer("200 OK", b"<html>", "text/html"))
    with pytest.raises(ApiProblem, match="does not answer as the API of Darkroom does"):
        received(client)


def test_an_unavailable_api_is_reported_once(server: ScriptedServer, client: ApiClient) -> None:
    """Neither message nor error holds the token."""
    server.answer(
        LOST, LOST, problem("503 Service Unavailable", "service_unavailable"),
        answer("502 Bad Gateway", b"<html>"), stream(("1-0", COMPLETED)),
    )  # fmt: skip
    said: list[str] = []
    assert received(client, said.append) == [("1-0", COMPLETED)]
    assert [line.partition(": ")[0] for line in said] == [
        f"the API at {server.url} cannot be reached",
        "the API answers again",
    ]
    assert "token" not in "".join(said)


def test_submission_whose_answer_was_lost_is_sent_again(
    server: ScriptedServer, client: ApiClient
) -> None:
    """With the same key, so that it is one job whether or not the first one arrived."""
    server.answer(LOST, problem("503 Unavailable", "service_unavailable"), found(job_of("first")))
    assert submit(client, {"prompt": "A mug"}).id == JOB_ID
    keys = {server.header(number, "Idempotency-Key") for number in range(3)}
    assert len(keys) == 1
    assert keys != {None}


def test_a_submission_to_a_closed_port_is_not_repeated(client: ApiClient) -> None:
    """A user who forgot to start the API learns so at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = ClientSettings.model_validate({"darkroom_url": f"http://127.0.0.1:{port}"})
    with ApiClient(settings) as unreachable, pytest.raises(ApiUnreachable) as error:
        submit(unreachable, {"prompt": "A mug"})
    assert not error.value.was_sent


def test_address_with_a_password_is_shown_without(server: ScriptedServer) -> None:
    """Errors are pasted into tickets."""
    url = server.url.replace("://", "://me:secret@")
    server.answer(LOST)
    with (
        ApiClient(ClientSettings.model_validate({"darkroom_url": url})) as client,
        pytest.raises(ApiUnreachable) as error,
    ):
        client.get(UUID(int=1))
    assert "secret" not in str(error.value)

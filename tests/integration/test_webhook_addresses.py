"""Where deliveries of webhooks are sent: to the address that was checked, and to no private one."""

import socket
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared.webhooks.outbox import Outbox
from shared.webhooks.sender import SendRules, WebhookSender
from shared.webhooks.store import WebhookStore
from tests.support.database import Database
from tests.support.receiver import Receiver, receiving

PUBLIC = "93.184.215.14"
"""Of a documentation page; a test reaches it only if it must not."""


class NameServer:
    """Answers for a name with other addresses each time, as one that rebinds it does."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.questions = 0

    def getaddrinfo(self, host: Any, port: Any, *_arguments: Any, **_options: Any) -> list[Any]:
        """Stand in for `socket.getaddrinfo`."""
        self.questions += 1
        address = self._answers[min(self.questions, len(self._answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver on this machine: in a private network."""
    with receiving() as receiver:
        yield receiver


def deliver(engine: Engine, database: Database, url: str) -> dict[str, Any]:
    """Have one delivery to a webhook's URL tried once; return its row."""
    database.fetch("DELETE FROM webhooks")
    webhook_id: UUID = WebhookStore(engine, allows_private=True).create("default", url, ["x"])[0].id
    job_id, _ = database.insert_job()
    database.fetch(
        "INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job)"
        " SELECT %(webhook)s, id, %(webhook)s, 'generation.started', to_jsonb(job)"
        " FROM generation_jobs job WHERE id = %(job)s",
        webhook=str(webhook_id),
        job=str(job_id),
    )
    rules = SendRules((60.0,), 5.0, allows_private=False)
    outbox = Outbox(engine, lease_seconds=30, failing_seconds=100)
    assert WebhookSender(outbox, lambda _delivery: {}, rules).send_due() == 1
    [row] = database.fetch("SELECT * FROM webhook_deliveries")
    return row


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1"])
def test_name_that_leads_into_a_private_network_is_refused(
    engine: Engine,
    database: Database,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    """Nothing is sent, and the row says why."""
    port = receiver.url("").rpartition(":")[2]
    names = NameServer(address)
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    row = deliver(engine, database, f"http://shop.example:{port}/ok")
    assert row["error"] == "its address is refused: it leads into a private network"
    assert row["next_try_at"] is not None
    assert not receiver.at("/ok")


def test_name_that_is_rebound_after_the_check_leads_nowhere_else(
    engine: Engine, database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for once: the connection goes to the address that was checked."""
    names = NameServer(PUBLIC, "127.0.0.1")
    connected: list[str] = []

    def connect(remote_host: str, **_options: Any) -> Any:
        connected.append(remote_host)
        raise OSError("not from a test")

    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    monkeypatch.setattr("anyio.connect_tcp", connect)
    port = receiver.url("").rpartition(":")[2]
    row = deliver(engine, database, f"http://shop.example:{port}/ok")
    assert (connected, names.questions) == ([PUBLIC], 1)
    assert row["error"] is not None
    assert not receiver.at("/ok")

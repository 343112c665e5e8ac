"""The gate where no API key is needed: who is served, and under which name."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from local.web.server import check_exposure
from shared.api.gate import Gate
from shared.errors import ConfigurationError
from tests.support.builders import build_settings

HOST = "172.18.0.1"


async def greet(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Serve everybody (ASGI)."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(client: str, host: str = "localhost:8000", **settings: Any) -> int:
    """Return the status of a request that comes from an address."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "client": (client, 50000),
        "headers": [(b"host", host.encode())],
    }
    asyncio.run(Gate(greet, build_settings(**settings))(scope, receive, send))
    return int(sent[0]["status"])


def test_only_this_machine_is_served_unless_a_network_is_trusted() -> None:
    """A container's host is a stranger to it by default."""
    assert ask("127.0.0.1") == 200
    assert ask(HOST) == 403
    assert ask(HOST, trusted_networks="172.18.0.1") == 200
    assert ask("172.18.0.2", trusted_networks="172.18.0.1") == 403


def test_who_is_trusted_must_ask_for_this_machine_too() -> None:
    """A page that rebinds its name to the loopback comes through the same gateway."""
    assert ask(HOST, "evil.example:8000", trusted_networks=HOST) == 403


def test_trust_means_nothing_where_keys_are_needed() -> None:
    """There the gate serves all, and the routes ask for the key."""
    settings: dict[str, Any] = {
        "trusted_networks": HOST,
        "require_api_keys": True,
        "signing_key": "k" * 32,
    }
    assert ask("192.168.1.7", "shop.example", **settings) == 200


def test_other_machines_are_listened_to_only_with_keys_or_a_list() -> None:
    """Everything else refuses to start."""
    check_exposure(build_settings(), "127.0.0.1")
    check_exposure(build_settings(trusted_networks="gateway"), "0.0.0.0")  # noqa: S104
    with pytest.raises(ConfigurationError, match=r"API_HOST=0\.0\.0\.0"):
        check_exposure(build_settings(), "0.0.0.0")  # noqa: S104

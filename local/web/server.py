"""Uvicorn for the API (`local.api`), and for the gateway of the local Lambda host."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from shared.errors import ConfigurationError, ServiceUnavailable
from shared.settings import Settings

BACKLOG = 2048

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than any client keeps its own.

A client that sends at the moment the server closes the connection gets a reset. httpx keeps an
idle connection for 5 s (uvicorn's own default), an AWS load balancer for 60 s
(docs.aws.amazon.com/elasticloadbalancing, "Connection idle timeout").
"""


class WebServer(uvicorn.Server):
    """Reports when it serves, and leaves signals to its owner.

    Uvicorn's own handlers raise the signal again at the end, which would become the exit code.
    """

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handler."""
        yield


def server_config(app: Any, **options: Any) -> uvicorn.Config:
    """Return the configuration of uvicorn: its fast parts, and no log of its own."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        # Addresses and schemes must be those of the connection, not those that a header claims.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        **options,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free port.

    Raises:
        ServiceUnavailable: The port cannot be opened; the message gives the reason.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{_bracketed(host)}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ServiceUnavailable(f"{where} is in use") from error
        raise ServiceUnavailable(f"cannot listen on {where}: {error.strerror}") from error


def address_of(listening: socket.socket) -> str:
    """Return the address for clients."""
    host, port = listening.getsockname()[:2]
    return f"http://{_bracketed(host)}:{port}"


def check_exposure(settings: Settings, host: str) -> None:
    """Check that other machines are served only with API keys or TRUSTED_NETWORKS.

    Raises:
        ConfigurationError: The address serves other machines, without either.
    """
    if settings.needs_api_keys or settings.trusted_networks or host == "localhost":
        return
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise ConfigurationError(
        f"settings: API_HOST={host} serves other machines, which needs API keys: "
        "set REQUIRE_API_KEYS=true and SIGNING_KEY, or API_HOST=127.0.0.1"
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

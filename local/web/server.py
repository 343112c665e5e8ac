"""Server programs: how they start, and uvicorn for the API and the local Lambda host."""

import asyncio
import errno
import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from local.open_files import raise_open_files
from local.web.bounded_http import BoundedHttp
from shared.errors import ConfigurationError, ServiceUnavailable, one_line
from shared.logs import configure_logging
from shared.settings import Settings, load_settings
from shared.terminal import printable

FAILURE_EXIT_CODE = 1
CONFIGURATION_EXIT_CODE = 2

BACKLOG = 2048

SEND_BUFFER_BYTES = 128 * 1024

TICKS_PER_SECOND = 10
"""Of uvicorn (`uvicorn.Server.main_loop`)."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than any client keeps its own.

A client that sends at the moment the server closes the connection gets a reset. httpx keeps an
idle connection for 5 s (uvicorn's own default), an AWS load balancer for 60 s
(docs.aws.amazon.com/elasticloadbalancing, "Connection idle timeout").
"""


def run_program(name: str, build: Callable[[Settings], Callable[[], None]]) -> int:
    """Build a program from the settings of the environment, run it, and return the exit code.

    If it cannot start, one line on standard error gives the reason: exit code 2 for what the user
    must change, 1 for a server that is unavailable.

    Args:
        name: Its name in the log.
        build: Returns what serves until SIGTERM or SIGINT; may raise ConfigurationError or
            ServiceUnavailable.
    """
    raise_open_files()
    try:
        settings = load_settings()
        configure_logging(name, settings.log_level)
        run = build(settings)
    except (ConfigurationError, ServiceUnavailable) as error:
        sys.stderr.write(f"{printable(one_line(str(error)))}\n")
        is_ours = isinstance(error, ServiceUnavailable)
        return FAILURE_EXIT_CODE if is_ours else CONFIGURATION_EXIT_CODE
    run()
    return 0


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

    async def on_tick(self, counter: int) -> bool:
        """Look at the deadlines of all connections once a second; called by uvicorn."""
        if counter % TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, BoundedHttp):
                    connection.check_deadlines(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handler."""
        yield


def server_config(
    app: Any, protocol: type[BoundedHttp] = BoundedHttp, **options: Any
) -> uvicorn.Config:
    """Return the configuration of uvicorn: its fast parts, and no log of its own."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
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
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{_bracketed(host)}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ServiceUnavailable(f"{where} is in use; API_PORT chooses another port") from error
        raise ServiceUnavailable(f"cannot listen on {where}: {error.strerror}") from error
    # Its connections inherit it. Linux would let the buffer grow to 4 MiB for a client that does
    # not read, and would report no room in it before a third is free.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listening


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

"""A proxy that cuts connections of a client, each at one moment, and passes all others on."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_PIECE_BYTES = 65_536


@dataclass(frozen=True)
class Cut:
    """When a connection is cut: after so many bytes of the request, or of the answer.

    Attributes:
        after_seconds: How long after that moment.
    """

    sent_bytes: int | None = None
    received_bytes: int = 0
    after_seconds: float = 0.0


@dataclass(slots=True)
class Traffic:
    """How many bytes a connection has passed on."""

    sent: int = 0
    received: int = 0


class _Connection:
    """One connection of a client, passed on to the server."""

    def __init__(
        self, client: socket.socket, server: socket.socket, cut: Cut | None, traffic: Traffic
    ) -> None:
        self._client, self._server, self._cut = client, server, cut
        self._traffic = traffic

    def serve(self) -> None:
        """Pass everything on until either side closes, or the cut."""
        back = threading.Thread(target=self._pass, args=(self._server, self._client), daemon=True)
        back.start()
        self._pass(self._client, self._server)
        back.join()
        self._client.close()
        self._server.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        limit = self._limit_of(source)
        passed = 0
        with suppress(OSError):
            if limit == 0 and source is self._server:
                self._cut_off()
            while (limit is None or passed < limit) and (data := source.recv(_PIECE_BYTES)):
                data = data if limit is None else data[: limit - passed]
                passed += len(data)
                if source is self._client:
                    self._traffic.sent += len(data)
                else:
                    self._traffic.received += len(data)
                target.sendall(data)
            if limit is not None:
                self._cut_off()
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _limit_of(self, source: socket.socket) -> int | None:
        if self._cut is None:
            return None
        if source is self._client:
            return self._cut.sent_bytes
        return self._cut.received_bytes if self._cut.sent_bytes is None else None

    def _cut_off(self) -> None:
        if self._cut is not None and self._cut.after_seconds:
            threading.Event().wait(self._cut.after_seconds)
        for side in (self._client, self._server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(
    url: str, *cuts: Cut | None, traffic: list[Traffic] | None = None
) -> Iterator[str]:
    """Run a proxy in front of a server; the value is its address.

    Args:
        url: Of the server.
        cuts: Of the first connections, in order; None passes one on.
        traffic: Gets what each connection has passed on.
    """
    target = urlsplit(url)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            of_each = itertools.chain(cuts, itertools.repeat(None))
            while True:
                try:
                    client, _ = listening.accept()
                    server = socket.create_connection((target.hostname, target.port))
                except OSError:
                    return
                passed = Traffic()
                if traffic is not None:
                    traffic.append(passed)
                connection = _Connection(client, server, next(of_each), passed)
                threading.Thread(target=connection.serve, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)

"""Ends the connections of one call at its deadline, whatever a server sends meanwhile.

A timeout bounds the wait for the next byte. A server that sends one byte of a header now and then,
or interim answers without end, never lets it pass.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from shared.deadline import Deadline, shielded

Watch = Callable[[Any], None]
"""Takes a socket that is to be shut down in time."""


@contextmanager
def hanging_up(deadline: Deadline) -> Iterator[Watch]:
    """Give what watches sockets; those of the block are shut down once the deadline has passed."""
    watched = list[socket.socket]()
    timer = threading.Timer(deadline.remaining_seconds(), _shut_down, [watched])
    timer.daemon = True
    with shielded():
        timer.start()
    try:
        yield watched.append
    finally:
        timer.cancel()


def trace_of(watch: Watch) -> Callable[[str, Mapping[str, Any]], None]:
    """Return the `trace` of a request of httpx, which watches its connections.

    httpcore, "Extensions": events of this name return the network stream that they made.
    """

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            watch(info["return_value"].get_extra_info("socket"))

    return trace


def _shut_down(watched: list[socket.socket]) -> None:
    for connection in watched:
        # That of the class: the method of an SSLSocket also forgets that it is encrypted.
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

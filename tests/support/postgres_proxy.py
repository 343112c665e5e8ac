"""A man in the middle of PostgreSQL's wire: loses the answer to one statement."""

import socket
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

SOCKET_NAME = ".s.PGSQL.5432"
READY_FOR_QUERY = b"Z\x00\x00\x00\x05I"
"""PostgreSQL, Message Formats: the server is idle, so the statement has been committed."""


class LossyProxy(AbstractContextManager["LossyProxy"]):
    """Passes everything on, but the first answer to a statement that holds the given bytes.

    The statement takes effect; then the client's connection is closed instead of answered.

    Args:
        server: The folder of the server's socket.
        folder: Where to listen.
    """

    def __init__(self, server: Path, folder: Path, statement: bytes) -> None:
        self._server = str(server / SOCKET_NAME)
        self._statement = statement
        self.has_lost_answer = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET_NAME))

    def __enter__(self) -> Self:
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server:
            server.connect(self._server)
            loses = threading.Event()
            back = threading.Thread(target=self._answer, args=(server, client, loses), daemon=True)
            back.start()
            while data := _receive(client):
                if self._statement in data and not self.has_lost_answer.is_set():
                    loses.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answer(self, server: socket.socket, client: socket.socket, loses: threading.Event) -> None:
        while data := _receive(server):
            if not loses.is_set():
                client.sendall(data)
            elif data.endswith(READY_FOR_QUERY):
                self.has_lost_answer.set()
                client.shutdown(socket.SHUT_RDWR)
                return


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 20)
    except OSError:
        return b""

"""One embedded server: a child process with a private folder and an address."""

import os
import socket
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from devkit.child_process import ChildProcess
from devkit.stack.folder import Account

FOREIGN_PREFIXES = ("PG", "AWS_", "MOTO_", "PYTHON", "FLASK_", "WERKZEUG_")
"""Environment variables of these names would change how an embedded server behaves."""


class EmbeddedServer(ChildProcess):
    """A server with a private folder and an address that outlives restarts.

    Args:
        folder: Where it keeps everything; made on first start, deleted by its owner.
    """

    title: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        super().__init__(self.title, folder / "log")
        self.folder = folder

    @property
    @abstractmethod
    def url(self) -> str:
        """The address in the format of the settings; the same after every restart."""

    def _run(self, command: Sequence[str | Path], account: Account | None = None) -> None:
        user = account or Account(-1, -1)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN_PREFIXES)
        }
        self._spawn(command, environment, self.folder, user_id=user.user_id, group_id=user.group_id)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

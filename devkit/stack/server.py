"""One embedded server: a child process with a private folder and an address."""

import os
import socket
from abc import abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from devkit.child_process import ChildProcess
from devkit.launch import SAME_ACCOUNT
from shared.errors import ConfigurationError

FOREIGN_PREFIXES = ("PG", "AWS_", "MOTO_", "PYTHON", "FLASK_", "WERKZEUG_")
"""Environment variables of these names would change how an embedded server behaves."""


class EmbeddedServer(ChildProcess):
    """A server with a private folder and an address that outlives restarts.

    Args:
        folder: Where its socket, log and configuration are; made on first start.
        data: Where its data is, if that outlives the folder.
    """

    title: ClassVar[str]
    setting: ClassVar[str]

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        super().__init__(self.title, folder / "log")
        self.folder = folder
        self.data = data or folder
        self.keeps_data = data is not None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address in the format of the settings; the same after every restart."""

    def launch(self) -> None:
        """Make the folders and begin to start, unless it runs; returns at once."""
        for folder in (self.folder, self.data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().launch()

    def _find_programs(self, package: str, pattern: str) -> list[Path]:
        """Return the programs in an installed wheel that match, without importing it.

        Raises:
            ConfigurationError: There is none for this machine.
        """
        spec = find_spec(package)
        roots = [] if spec is None else spec.submodule_search_locations or []
        found = [path for root in roots for path in Path(root).glob(pattern)]
        if not found:
            raise ConfigurationError(
                f"no embedded {self.title} for this machine: install darkroom[embedded], or set "
                f"{self.setting} to a server of yours"
            )
        return found

    def _run(self, command: Sequence[str | Path], account: tuple[int, int] = SAME_ACCOUNT) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN_PREFIXES)
        }
        self._spawn(command, environment, self.folder, account)


def free_port() -> int:
    """Return a port of the loopback address that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

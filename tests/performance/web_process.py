"""Web servers that are measured: each a process of its own, with a port of its own."""

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from devkit.child_process import ChildProcess
from devkit.stack.server import free_port

SETTLING_SECONDS = 2.0

_PROJECT = Path(__file__).resolve().parent.parent.parent


class WebProcess(ChildProcess):
    """A module that serves HTTP on the port API_PORT of its environment.

    Args:
        module: Run as `python -m` would, below `tests.performance.collecting`.
        environment: All of its environment variables, but for the port.
    """

    def __init__(self, module: str, environment: Mapping[str, str], log_path: Path) -> None:
        super().__init__(module, log_path)
        self.port = free_port()
        self._environment = {
            **environment,
            "API_PORT": str(self.port),
            "PYTHONPATH": str(_PROJECT),
        }
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def _begin(self) -> None:
        command = [sys.executable, "-m", "tests.performance.collecting", self.name]
        self._spawn(command, self._environment, _PROJECT)

    def answers(self) -> bool:
        """Return whether its port is open."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def settled_kb(self) -> float:
        """Return its resident memory, in KB, once its garbage is collected."""
        time.sleep(SETTLING_SECONDS)
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(SETTLING_SECONDS)
        return float(psutil.Process(self.pid).memory_info().rss) / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time it has used so far."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def tcp_ports(self) -> set[int]:
        """Return the local ports of its connections."""
        connections = psutil.Process(self.pid).net_connections("tcp")
        return {connection.laddr.port for connection in connections}

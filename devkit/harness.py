"""Servers, runtimes and APIs on one machine, for the length of a `with` block.

`darkroom demo`, `up` and `parity` and the tests start everything through it; each adds the
processes that it needs.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from devkit.child_process import stop_all
from devkit.environment import adopted
from devkit.runtimes import ProjectProcess
from devkit.stack import Stack, StackOptions, embedded_stack
from shared.errors import ServiceUnavailable
from shared.jobs.migration import migrate
from shared.logs import configure_logging
from shared.settings import load_settings
from shared.wiring import Services

Process = TypeVar("Process", bound=ProjectProcess)


class Harness:
    """Processes on the servers of a stack.

    Attributes:
        stack: The servers.
        folder: Private, and deleted in the end; holds the logs.
    """

    def __init__(self, stack: Stack, undo: ExitStack) -> None:
        self.stack = stack
        self.folder = stack.folder
        self._undo = undo
        self._processes: list[ProjectProcess] = []

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the variables of a process on these servers: this process's own, and settings.

        Temporary files that it leaves are deleted with the folder.
        """
        servers = self.stack.environment
        return {**os.environ, "TMPDIR": str(self.folder), **servers, **settings}

    def log_to_folder(self) -> None:
        """Write what this process logs to a file in the folder."""
        log = self._undo.enter_context((self.folder / "client.log").open("a"))
        configure_logging("client", "WARNING", log)

    def open_services(self, environment: Mapping[str, str]) -> Services:
        """Migrate the database and return the services of a client, closed in the end.

        Raises:
            ConfigurationError: A setting is wrong.
            ServiceUnavailable: A server cannot be reached.
        """
        with adopted(environment):
            services = self._undo.enter_context(Services(load_settings()))
            migrate(services.settings.database_url, services.settings.database_schema)
            # A worker would wait for Redis for as long as it takes.
            services.check_redis()
            # Made now, because an SQS client reads its address and keys from the environment.
            services.dispatcher  # noqa: B018 - a cached property
        return services

    def add(self, process: Process) -> Process:
        """Return the process, to be started; it ends with the block."""
        self._processes.append(process)
        return process

    def start(self) -> None:
        """Start all processes side by side, and wait until they can be used.

        Raises:
            ServiceUnavailable: One did not come up.
        """
        for process in self._processes:
            process.launch()
        for process in self._processes:
            process.wait_until_ready()

    def check(self) -> None:
        """Raise ServiceUnavailable, with its last line, once one of the processes has ended."""
        for process in self._processes:
            if not process.is_running:
                raise ServiceUnavailable(f"the {process.name} has ended: {process.last_log_line()}")

    def end(self) -> None:
        """End all processes: at once if the rows of their jobs are about to be deleted."""
        if self.stack.keeps_data:
            stop_all(self._processes)
        for process in self._processes:
            process.kill()


@contextmanager
def harness(
    options: StackOptions | None = None, given: Mapping[str, str] | None = None
) -> Iterator[Harness]:
    """Start the servers that are not given; end everything that was added with the block.

    Raises:
        ConfigurationError: This machine lacks what a server needs.
        ServiceUnavailable: A server did not come up.
    """
    with ExitStack() as undo:
        ground = Harness(undo.enter_context(embedded_stack(given, options)), undo)
        undo.callback(ground.end)
        yield ground

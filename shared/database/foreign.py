"""Statements in a transaction of the caller's own, on a connection that it has opened."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from sqlalchemy import Connection, exc
from sqlalchemy.orm import Session

from shared.errors import ConfigurationError

ForeignConnection = Connection | Session | psycopg2.extensions.connection

_USE_SCHEMA = (
    "SELECT current_setting('search_path') AS path,"
    " CASE WHEN %(schema)s IS NOT NULL"
    " THEN set_config('search_path', quote_ident(%(schema)s), true) END"
)


class ForeignTransaction:
    """Runs statements in the caller's transaction, which the caller commits or rolls back.

    Args:
        connection: Of SQLAlchemy with psycopg2, or of psycopg2; not in autocommit.
        schema: DATABASE_SCHEMA; the caller's search path is as before afterwards.
    """

    def __init__(self, connection: ForeignConnection, schema: str | None) -> None:
        self._connection = (
            connection.connection() if isinstance(connection, Session) else connection
        )
        self._schema = schema

    @contextmanager
    def undone_alone(self) -> Iterator[None]:
        """Undo what the body has done if it raises; the caller's transaction goes on.

        Raises:
            ConfigurationError: The connection has no transaction.
        """
        try:
            self.execute("SAVEPOINT darkroom", {})
        except (psycopg2.Error, exc.DBAPIError) as error:
            if isinstance(getattr(error, "orig", error), psycopg2.errors.NoActiveSqlTransaction):
                raise ConfigurationError(
                    "submit: the connection is in autocommit, so it has no transaction"
                ) from error
            raise
        is_done = False
        try:
            [before] = self.execute(_USE_SCHEMA, {"schema": self._schema})
            yield
            self.execute("SELECT set_config('search_path', %(path)s, true)", {"path": before.path})
            is_done = True
        finally:
            if not is_done:
                self.execute("ROLLBACK TO SAVEPOINT darkroom", {})
            self.execute("RELEASE SAVEPOINT darkroom", {})

    def execute(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run one statement and return its rows, if it has any."""
        if isinstance(self._connection, Connection):
            result = self._connection.exec_driver_sql(sql, dict(parameters))
            return result.all() if result.returns_rows else ()
        with self._connection.cursor(cursor_factory=psycopg2.extensions.cursor) as cursor:
            cursor.execute(sql, dict(parameters))
            names = [column.name for column in cursor.description or ()]
            rows = cursor.fetchall() if names else ()
        mappings = [dict(zip(names, row, strict=True)) for row in rows]
        return [SimpleNamespace(**mapping, _mapping=mapping) for mapping in mappings]

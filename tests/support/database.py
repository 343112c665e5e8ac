"""The database as a test sees it: plain SQL in connections of its own."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg2
from psycopg2.extras import RealDictCursor

Row = dict[str, Any]
Insert = Callable[..., UUID]


class Database:
    """Reads and writes rows behind the back of the code under test, each statement by itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def fetch(self, sql: str, **parameters: Any) -> list[Row]:
        """Run one statement and return its rows, if it has any."""
        with self._connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Yield a cursor, each of whose statements is committed."""
        with self._connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Yield a cursor of another connection; what it did is rolled back at the end."""
        with closing(psycopg2.connect(self.url)) as connection:
            with connection.cursor() as cursor:
                yield cursor
            # Closing alone would free the locks a moment later.
            connection.rollback()

    @contextmanager
    def locked(self, job_id: UUID) -> Iterator[None]:
        """Hold the lock of a job's row in another session for the length of the block."""
        with self.transaction() as cursor:
            cursor.execute("SELECT FROM generation_jobs WHERE id = %s FOR UPDATE", (str(job_id),))
            yield

    def job(self, job_id: UUID) -> Row:
        """Return the row of a job."""
        (row,) = self.fetch("SELECT * FROM generation_jobs WHERE id = %(id)s", id=str(job_id))
        return row

    def attempts(self, job_id: UUID) -> list[Row]:
        """Return the ledger of a job."""
        return self.fetch(
            "SELECT * FROM generation_attempts WHERE job_id = %(id)s ORDER BY number",
            id=str(job_id),
        )

    def images(self, job_id: UUID) -> list[Row]:
        """Return the rows of a job's images."""
        return self.fetch(
            "SELECT * FROM images WHERE job_id = %(id)s ORDER BY position", id=str(job_id)
        )

    def insert_job(self, **columns: Any) -> tuple[UUID, str]:
        """Insert a row as a foreign producer does; return its id and task id."""
        values = {
            "id": str(uuid4()),
            "task_id": f"task-{uuid4()}",
            "workspace_id": "default",
            "params": '{"prompt": "a mug", "size": "256x256"}',
            **columns,
        }
        names = ", ".join(values)
        places = ", ".join(f"%({name})s" for name in values)
        self.fetch(f"INSERT INTO generation_jobs ({names}) VALUES ({places})", **values)
        return UUID(values["id"]), values["task_id"]

    def update_job(self, job_id: UUID, assignments: str, **parameters: Any) -> None:
        """Set columns of a job, as time or another process would."""
        self.fetch(
            f"UPDATE generation_jobs SET {assignments} WHERE id = %(id)s",
            id=str(job_id),
            **parameters,
        )

    def expire_lease(self, job_id: UUID) -> None:
        """Let the lease of a job have run out, short of its time limit."""
        self.update_job(job_id, "lease_until = now() - interval '1 second'")

    def pass_time_between_asks(self, job_id: UUID) -> None:
        """Let the bills of a job be due again: they were asked for some seconds ago."""
        past = "asked_at = now() - interval '1 hour'"
        self.fetch(f"UPDATE generation_attempts SET {past} WHERE job_id = %(id)s", id=str(job_id))

    def reach_time_limit(self, job_id: UUID) -> None:
        """Let the lease of a job have run up to its time limit."""
        self.update_job(
            job_id,
            "lease_until = now() - interval '1 second',"
            " time_limit_at = now() - interval '1 second'",
        )

    def clear(self) -> None:
        """Delete all but the workspace `default`."""
        self.fetch(
            "DELETE FROM generation_jobs; DELETE FROM assets; DELETE FROM products;"
            " DELETE FROM users; DELETE FROM api_keys; DELETE FROM workers;"
            " DELETE FROM idempotency_keys; DELETE FROM paused_providers;"
            " DELETE FROM workspace_limits; DELETE FROM submission_windows; DELETE FROM audit;"
            " DELETE FROM workspace_costs; DELETE FROM workspaces WHERE id <> 'default'"
        )

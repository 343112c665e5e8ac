"""Accepting a job over HTTP: within the workspace's limit, and once for each idempotency key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, exc

from shared.database.session import reporting_unavailability
from shared.database.statements import fetch_one
from shared.errors import IdempotencyKeyReused, InvalidRequest, TooManyOpenJobs
from shared.jobs.model import Job
from shared.jobs.store import (
    INSERTED_COLUMNS,
    JOB_COLUMNS,
    NewJob,
    explain_missing_owner,
    insert_parameters,
    job_of,
)

IDEMPOTENCY_SECONDS = 24 * 3600

MARGIN = 100
"""Requests that may be under way at once: so close to the limit they are counted one by one."""

_ROOM = """
    SELECT 1 WHERE (
        SELECT count(*) FROM (
            SELECT FROM generation_jobs
            WHERE workspace_id = %(workspace_id)s AND status IN ('PENDING', 'PROCESSING')
            LIMIT %(open_limit)s
        ) open
    ) < %(open_limit)s
"""

# One of two requests with the same key waits here for the other's commit, and then gets no row.
_CLAIM_KEY = """
    INSERT INTO idempotency_keys AS kept (workspace_id, key, request_sha256, job_id)
    SELECT %(workspace_id)s, %(key)s, %(request_sha256)s, %(id)s FROM room
    ON CONFLICT (workspace_id, key) DO UPDATE SET
        request_sha256 = excluded.request_sha256, job_id = excluded.job_id, created_at = now()
    WHERE kept.created_at < now() - make_interval(secs => %(kept_seconds)s)
    RETURNING 1
"""

_INSERT = f"""
    INSERT INTO generation_jobs ({INSERTED_COLUMNS[0]})
    SELECT {INSERTED_COLUMNS[1]} FROM {{}}
    RETURNING {JOB_COLUMNS}
"""

_ACCEPT = f"WITH room AS ({_ROOM}) {_INSERT.format('room')}"
_ACCEPT_ONCE = f"WITH room AS ({_ROOM}), claimed AS ({_CLAIM_KEY}) {_INSERT.format('claimed')}"

_FIND_BY_KEY = f"""
    SELECT kept.request_sha256, job.*
    FROM idempotency_keys kept
    JOIN LATERAL (
        SELECT {JOB_COLUMNS} FROM generation_jobs WHERE generation_jobs.id = kept.job_id
    ) job ON true
    WHERE kept.workspace_id = %(workspace_id)s AND kept.key = %(key)s
        AND kept.created_at >= now() - make_interval(secs => %(kept_seconds)s)
"""

_LOCK_WORKSPACE = "SELECT pg_advisory_xact_lock(hashtextextended(%(workspace_id)s, 7))"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions a request is accepted.

    Attributes:
        open_limit: Jobs that its workspace may have waiting or running.
        key: What the client calls this request; None if it will not repeat it.
        request_sha256: Of everything that the request asks for.
    """

    open_limit: int
    key: str | None = None
    request_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job, and whether it is the request's own.

    Attributes:
        is_new: False for a request that repeats an earlier one: its job is left alone.
    """

    job: Job
    is_new: bool


class AcceptanceStore:
    """Turns requests into rows. Every method raises ServiceUnavailable without PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def accept(self, new: NewJob, terms: Terms) -> Accepted:
        """Insert a job, or find the one that the same request has made before.

        Raises:
            InvalidRequest: The workspace, user or product does not exist.
            IdempotencyKeyReused: The key came with another request within 24 hours.
            TooManyOpenJobs: The workspace has as many as it may; nothing was accepted.
        """
        parameters = {
            **insert_parameters(new),
            "open_limit": terms.open_limit - MARGIN,
            "key": terms.key,
            "request_sha256": terms.request_sha256,
            "kept_seconds": IDEMPOTENCY_SECONDS,
        }
        try:
            return self._accept(parameters, terms)
        except exc.IntegrityError as error:
            raise InvalidRequest(explain_missing_owner(new, error)) from error

    def _accept(self, parameters: dict[str, Any], terms: Terms) -> Accepted:
        row = None
        if terms.open_limit > MARGIN:
            row = fetch_one(self._engine, _statement(terms), parameters)
        if row is not None:
            return Accepted(job_of(row), is_new=True)
        repeated = self._find_repeated(parameters, terms)
        if repeated is None:
            row = self._accept_near_limit({**parameters, "open_limit": terms.open_limit}, terms)
        if row is not None:
            return Accepted(job_of(row), is_new=True)
        # Lost the race against the same request, or there is no room.
        repeated = repeated or self._find_repeated(parameters, terms)
        if repeated is None:
            raise TooManyOpenJobs(terms.open_limit)
        return repeated

    def _find_repeated(self, parameters: Mapping[str, Any], terms: Terms) -> Accepted | None:
        if terms.key is None:
            return None
        row = fetch_one(self._engine, _FIND_BY_KEY, parameters)
        if row is None:
            return None
        values = row._asdict()
        if values.pop("request_sha256") != terms.request_sha256:
            raise IdempotencyKeyReused(values["id"])
        return Accepted(job_of(values), is_new=False)

    def _accept_near_limit(self, parameters: Mapping[str, Any], terms: Terms) -> Any | None:
        """Count and insert while no other request of the workspace does."""
        transactional = self._engine.execution_options(isolation_level="READ COMMITTED")
        with reporting_unavailability(), transactional.begin() as connection:
            return _locked_insert(connection, parameters, terms)


def _locked_insert(
    connection: Connection, parameters: Mapping[str, Any], terms: Terms
) -> Any | None:
    connection.exec_driver_sql(_LOCK_WORKSPACE, parameters)
    return connection.exec_driver_sql(_statement(terms), parameters).first()


def _statement(terms: Terms) -> str:
    return _ACCEPT if terms.key is None else _ACCEPT_ONCE

"""What the servers of this environment answer about themselves, in a second or two."""

import importlib.util
import json
import os
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from redis import RedisError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from shared.database.session import create_unpooled_engine, reporting_unavailability
from shared.errors import ServiceUnavailable, one_line
from shared.events.connection import connect_redis, is_in_cluster_mode
from shared.settings import Settings

# Reserved for superusers, and since PostgreSQL 16 for others.
_POSTGRES = text(
    """
    SELECT current_setting('server_version_num')::int,
           current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int
           - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
           (SELECT coalesce(extract(epoch FROM now() - min(xact_start)), 0)
               FROM pg_stat_activity)::float
    """
)

_SERVER_PROCESS = text("SELECT pg_backend_pid()")

_SESSION_ROUNDS = 3
"""Other clients of the pooler may take the session in between."""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """PostgreSQL.

    Attributes:
        version: Its major version.
        revision: The revision that its schema is at; None before the first migration.
        free_connections: How many more may be opened by a user who is not a superuser.
        skew_seconds: How far its clock is ahead of this machine's; negative behind it.
        shares_sessions: Whether a pooler runs the statements of one connection in several sessions.
        oldest_transaction_seconds: How long a transaction has been open, of those that this user
            may see.
    """

    version: int
    revision: str | None
    free_connections: int
    skew_seconds: float
    shares_sessions: bool
    oldest_transaction_seconds: float


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """Redis, or a server that speaks its protocol.

    Attributes:
        policy: What it does when its memory is full (`maxmemory-policy`).
        limit_bytes: Its `maxmemory`; 0 is none.
        has_append_only_file: Whether it writes one.
        replicas: How many servers copy it.
        is_cluster: Whether cluster mode is on.
        skew_seconds: How far its clock is ahead of this machine's; negative behind it.
        others: Tasks and workers of other Celery applications on our queues.
    """

    policy: str
    limit_bytes: int
    has_append_only_file: bool
    replicas: int
    is_cluster: bool
    skew_seconds: float
    others: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The SQS queue.

    Attributes:
        max_receives: Deliveries before a message goes to the dead letters; None if it never does.
    """

    visibility_seconds: float
    max_receives: int | None


def ask_servers(
    settings: Settings, named: Collection[str]
) -> tuple[PostgresFacts | str, RedisFacts | str, QueueFacts | str]:
    """Ask PostgreSQL, Redis and SQS, all at once; a text says why there is no answer.

    Args:
        settings: The settings of this environment.
        named: Which of DATABASE_URL and REDIS_URL it names; the others are stand-ins.
    """
    known = {*named, "QUEUE_URL"} if settings.queue_url else named
    asks = {"DATABASE_URL": _ask_postgres, "REDIS_URL": _ask_redis, "QUEUE_URL": _ask_queue}

    def answer(name: str) -> Any:
        if name not in known:
            return f"{name} is not set"
        try:
            return asks[name](settings)
        except (ServiceUnavailable, RedisError, SQLAlchemyError) as error:
            return one_line(f"no answer: {error}")[:160]

    with ThreadPoolExecutor() as executor:
        postgres, redis, queue = executor.map(answer, asks)
    return postgres, redis, queue


def _ask_postgres(settings: Settings) -> PostgresFacts:
    # Alembic takes a while to import, and most checks have no database.
    from shared.jobs.migration import current_revision

    engine = create_unpooled_engine(
        settings.database_url, "darkroom doctor", settings.database_schema
    )
    with reporting_unavailability(), engine.connect() as connection:
        version, free, oldest = connection.execute(_POSTGRES).one()
        asked_at = time.time()
        now = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        skew_seconds = _skew_seconds(asked_at, now)
        revision = current_revision(connection)
        shares_sessions = _shares_sessions(connection, engine)
    version //= 10_000
    return PostgresFacts(version, revision, free, skew_seconds, shares_sessions, float(oldest))


def _shares_sessions(connection: Connection, engine: Engine) -> bool:
    """Return whether a connection meets several server processes, or that of another one.

    A pooler of transactions gives the session that was used last to the next statement, or takes
    one after the other.
    """
    met = set()
    with engine.connect() as other:
        for _ in range(_SESSION_ROUNDS):
            met |= {connection.scalar(_SERVER_PROCESS), connection.scalar(_SERVER_PROCESS)}
            if len(met) > 1 or other.scalar(_SERVER_PROCESS) in met:
                return True
    return False


def _ask_redis(settings: Settings) -> RedisFacts:
    with connect_redis(settings.redis_url) as redis:
        is_cluster = is_in_cluster_mode(redis, settings.redis_keys)
        # Managed servers refuse CONFIG GET; INFO says the same.
        info: dict[str, Any] = redis.info("everything")
        asked_at = time.time()
        seconds, microseconds = redis.time()
        skew_seconds = _skew_seconds(asked_at, seconds + microseconds / 1e6)
    return RedisFacts(
        policy=str(info.get("maxmemory_policy", "unknown")),
        limit_bytes=int(info.get("maxmemory", 0)),
        has_append_only_file=info.get("aof_enabled") == 1,
        replicas=int(info.get("connected_slaves", 0)),
        is_cluster=is_cluster,
        skew_seconds=skew_seconds,
        others=_find_others(settings),
    )


def _find_others(settings: Settings) -> Sequence[str]:
    if settings.queue_url is not None:
        return ()  # Celery's queues are not in use
    from shared.adapters.celery_queue import CeleryDispatcher

    with closing(CeleryDispatcher(settings)) as dispatcher:
        return dispatcher.find_others(asks_workers=True)


def _ask_queue(settings: Settings) -> QueueFacts | str:
    if importlib.util.find_spec("boto3") is None:
        return "boto3 is not installed (the extra `cloud`)"
    import boto3  # half a second, only where there is a queue
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from devkit.environment import with_aws_variables

    url = str(settings.queue_url)
    os.environ.update(with_aws_variables(os.environ, url))
    config = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
    try:
        attributes = boto3.client("sqs", config=config).get_queue_attributes(
            QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
        )["Attributes"]
    except (BotoCoreError, ClientError) as error:
        raise ServiceUnavailable(one_line(f"SQS: {error}")) from error
    receives = json.loads(attributes.get("RedrivePolicy", "{}")).get("maxReceiveCount")
    return QueueFacts(
        float(attributes["VisibilityTimeout"]), None if receives is None else int(receives)
    )


def _skew_seconds(asked_at: float, server_clock: float) -> float:
    # The server read its clock somewhere between the question and the answer.
    answered_at = time.time()
    if asked_at <= server_clock <= answered_at:
        return 0.0
    return server_clock - (answered_at if server_clock > answered_at else asked_at)

"""What the servers of this environment answer about themselves, in a second or two."""

import importlib.util
import json
import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from redis import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shared.database.session import create_unpooled_engine, reporting_unavailability
from shared.errors import ServiceUnavailable, one_line
from shared.events.connection import connect_redis
from shared.settings import Settings

# Reserved for superusers, and since PostgreSQL 16 for others.
_POSTGRES = text(
    """
    SELECT current_setting('server_version_num')::int,
           current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int
           - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int
    """
)


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """PostgreSQL.

    Attributes:
        version: Its major version.
        revision: The revision that its schema is at; None before the first migration.
        free_connections: How many more may be opened by a user who is not a superuser.
        skew_seconds: How far its clock is ahead of this machine's; negative behind it.
    """

    version: int
    revision: str | None
    free_connections: int
    skew_seconds: float


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
    """

    policy: str
    limit_bytes: int
    has_append_only_file: bool
    replicas: int
    is_cluster: bool
    skew_seconds: float


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
    asked: tuple[tuple[str, bool, Callable[[Settings], Any]], ...] = (
        ("DATABASE_URL", "DATABASE_URL" in named, _ask_postgres),
        ("REDIS_URL", "REDIS_URL" in named, _ask_redis),
        ("QUEUE_URL", settings.queue_url is not None, _ask_queue),
    )
    with ThreadPoolExecutor() as executor:
        answers = [
            executor.submit(_answer, ask, settings) if is_named else f"{name} is not set"
            for name, is_named, ask in asked
        ]
    postgres, redis, queue = (one if isinstance(one, str) else one.result() for one in answers)
    return postgres, redis, queue


def _answer(ask: Callable[[Settings], Any], settings: Settings) -> Any:
    try:
        return ask(settings)
    except (ServiceUnavailable, RedisError, SQLAlchemyError) as error:
        return one_line(f"no answer: {error}")[:160]


def _ask_postgres(settings: Settings) -> PostgresFacts:
    # Alembic takes a while to import, and most checks have no database.
    from shared.jobs.migration import current_revision

    engine = create_unpooled_engine(settings.database_url, "darkroom doctor")
    with reporting_unavailability(), engine.connect() as connection:
        version, free = connection.execute(_POSTGRES).one()
        asked_at = time.time()
        now = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        skew_seconds = _skew_seconds(asked_at, now)
        revision = current_revision(connection)
    return PostgresFacts(version // 10_000, revision, free, skew_seconds)


def _ask_redis(settings: Settings) -> RedisFacts:
    with connect_redis(settings.redis_url) as redis:
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
        is_cluster=info.get("cluster_enabled") == 1,
        skew_seconds=skew_seconds,
    )


def _ask_queue(settings: Settings) -> QueueFacts | str:
    if importlib.util.find_spec("boto3") is None:
        return "boto3 is not installed (the extra `cloud`)"
    import boto3  # half a second, only where there is a queue
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from devkit.environment import with_aws_variables

    aws = with_aws_variables(os.environ, str(settings.queue_url))
    try:
        client = boto3.client(
            "sqs",
            region_name=aws["AWS_REGION"],
            endpoint_url=aws.get("AWS_ENDPOINT_URL_SQS"),
            aws_access_key_id=aws.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=aws.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=aws.get("AWS_SESSION_TOKEN"),
            config=Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1}),
        )
        attributes = client.get_queue_attributes(
            QueueUrl=str(settings.queue_url), AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
        )["Attributes"]
    except (BotoCoreError, ClientError) as error:
        raise ServiceUnavailable(f"SQS: {error}") from error
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

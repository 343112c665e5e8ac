"""What the servers of this environment answer about themselves, in a second or two."""

import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.parts import Part
from shared.database.session import create_unpooled_engine, reporting_unavailability
from shared.errors import ServiceUnavailable, one_line
from shared.events.connection import connect_redis
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """PostgreSQL.

    Attributes:
        version: Its major version.
        revision: The revision that its schema is at; None before the first migration.
        newest: The revision that this code needs.
        skew_seconds: How far its clock is ahead of this machine's; negative behind it.
    """

    version: int
    revision: str | None
    newest: str | None
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


@dataclass(frozen=True, slots=True)
class Servers:
    """What each server answered, or why there is no answer."""

    postgres: PostgresFacts | str
    redis: RedisFacts | str
    queue: QueueFacts | str


NO_SERVERS = Servers("no server was asked", "no server was asked", "no server was asked")


def ask_servers(environment: Part, variables: Mapping[str, str]) -> Servers:
    """Ask the servers that the environment names.

    Args:
        environment: This process; its settings are sound.
        variables: All its variables: boto3 has its own.
    """
    settings = environment.load()

    def answer_of(name: str, ask: Callable[[], Any]) -> Any:
        if not environment.gives(name):
            return f"{name} is not set"
        try:
            return ask()
        except (ServiceUnavailable, RedisError, SQLAlchemyError) as error:
            return one_line(f"no answer: {error}")[:160]

    return Servers(
        answer_of("DATABASE_URL", lambda: _ask_postgres(settings)),
        answer_of("REDIS_URL", lambda: _ask_redis(settings)),
        answer_of("QUEUE_URL", lambda: _ask_queue(settings, variables)),
    )


def _ask_postgres(settings: Settings) -> PostgresFacts:
    # Alembic takes a while to import, and most examinations have no database.
    from shared.jobs.migrate import current_revision, newest_revision

    engine = create_unpooled_engine(settings.database_url, "darkroom doctor")
    with reporting_unavailability(), engine.connect() as connection:
        version = int(str(connection.scalar(text("SHOW server_version_num"))))
        asked_at = time.time()
        now = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        skew_seconds = _skew_seconds(asked_at, now)
        revision = current_revision(connection)
    return PostgresFacts(version // 10_000, revision, newest_revision(), skew_seconds)


def _ask_redis(settings: Settings) -> RedisFacts:
    with connect_redis(settings.redis_url) as redis:
        # Managed servers refuse CONFIG GET; INFO tells the same.
        told: dict[str, Any] = redis.info("everything")
        asked_at = time.time()
        seconds, microseconds = redis.time()
        skew_seconds = _skew_seconds(asked_at, seconds + microseconds / 1e6)
    return RedisFacts(
        policy=str(told.get("maxmemory_policy", "unknown")),
        limit_bytes=int(told.get("maxmemory", 0)),
        has_append_only_file=told.get("aof_enabled") == 1,
        replicas=int(told.get("connected_slaves", 0)),
        is_cluster=told.get("cluster_enabled") == 1,
        skew_seconds=skew_seconds,
    )


def _ask_queue(settings: Settings, variables: Mapping[str, str]) -> QueueFacts | str:
    if importlib.util.find_spec("boto3") is None:
        return "boto3 is not installed (the extra `cloud`)"
    import boto3  # half a second, for those alone who have a queue
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from devkit.environment import with_aws_variables

    aws = with_aws_variables(variables, str(settings.queue_url))
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
    redrive = json.loads(attributes.get("RedrivePolicy", "{}"))
    receives = redrive.get("maxReceiveCount")
    return QueueFacts(
        float(attributes["VisibilityTimeout"]), None if receives is None else int(receives)
    )


def _skew_seconds(asked_at: float, server_clock: float) -> float:
    # The server looked at its clock somewhere between the question and the answer.
    answered_at = time.time()
    if asked_at <= server_clock <= answered_at:
        return 0.0
    return server_clock - (answered_at if server_clock > answered_at else asked_at)

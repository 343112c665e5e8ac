"""Rules on Celery and on the Redis behind it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from cli.doctor.facts import Facts
from cli.doctor.quantities import bytes_of, in_megabytes, in_seconds
from cli.doctor.rule import NotChecked, Reading, Rule, judged
from cli.doctor.template_file import Resource
from shared.adapters.celery_broker import JOB_QUEUE, MAINTENANCE_QUEUE, TASK_NAME
from shared.settings import RETRY_AFTER_MAX_SECONDS

BLOCKING_READ_SECONDS = 1.0
"""How long kombu waits in Redis for a message (kombu/transport/redis.py, `brpop_timeout`)."""

POLICY = "noeviction"

WANTED = {
    "task_acks_late": (True, "a job of a dead worker would not be delivered again"),
    "task_reject_on_worker_lost": (False, "what kills its worker would be delivered without end"),
    "task_acks_on_failure_or_timeout": (True, "what reached the limit would come without end"),
    "task_ignore_result": (True, "Celery would write over the records of the event script"),
    "task_create_missing_queues": (False, "a wrong name would make a queue that nobody reads"),
    "worker_prefetch_multiplier": (1, "short jobs would wait behind a long one"),
    "worker_cancel_long_running_tasks_on_connection_loss": (
        False,
        "losing the broker would throw away paid provider calls",
    ),
    "broker_connection_max_retries": (None, "a worker would end when Redis is away for long"),
    "broker_connection_retry_on_startup": (True, "a worker would not wait for Redis"),
    "accept_content": (["json"], "a message could run code"),
}

TRANSPORTS = ("broker_transport_options", "result_backend_transport_options")


def _limits(facts: Facts) -> Iterable[Reading]:
    for option, name in (
        ("task_soft_time_limit", "SOFT_TIME_LIMIT"),
        ("task_time_limit", "TIME_LIMIT"),
    ):
        found, wanted = facts.celery_options[option], facts.environment.find_number(name)
        yield judged(
            "celery", f"{option} {found}", holds=found == wanted, fault=f"{name} is {wanted}"
        )
    never = facts.celery_options["never_retried"]
    yield judged(
        "celery",
        f"never retried: {', '.join(never) or 'nothing'}",
        holds="SoftTimeLimitExceeded" in never,
        fault="a job that reached the soft limit would be paid for again",
    )


def _acknowledgement(facts: Facts) -> Iterable[Reading]:
    for option, (wanted, consequence) in WANTED.items():
        found = facts.celery_options[option]
        yield judged(
            "celery",
            f"{option} {found}",
            holds=found == wanted,
            fault=f"{option} is {found}, not {wanted}: {consequence}",
        )


def _connection(facts: Facts) -> Iterable[Reading]:
    options = facts.celery_options["broker_transport_options"]
    timeout = options.get("socket_timeout")
    yield judged(
        "celery",
        f"socket_timeout {timeout}",
        holds=timeout is not None and timeout > BLOCKING_READ_SECONDS,
        fault=f"a frozen Redis hangs a worker; kombu itself waits {BLOCKING_READ_SECONDS:g} s",
    )
    for name in ("socket_connect_timeout", "socket_keepalive", "health_check_interval"):
        yield judged(
            "celery",
            f"{name} {options.get(name)}",
            holds=bool(options.get(name)),
            fault=f"{name} is not set: a lost peer would go unnoticed",
        )


def _visibility(facts: Facts) -> Iterable[Reading]:
    options = facts.celery_options
    found = {name: options[name].get("visibility_timeout") for name in TRANSPORTS}
    found["visibility_timeout"] = options["visibility_timeout"]
    shortest = min(float(seconds or 0) for seconds in found.values())
    yield judged(
        "celery",
        f"visibility timeout {shortest:g} s in {len(found)} places",
        holds=len(set(found.values())) == 1,
        fault=f"the shortest one counts: {found}",
    )
    for part in facts.parts:
        known = part.numbers("TIME_LIMIT", "RETRY_BACKOFF_MAX")
        if known is not None and "AWS_LAMBDA_FUNCTION_NAME" not in part.variables:
            hold = known[0] + max(known[1], RETRY_AFTER_MAX_SECONDS)
            yield judged(
                part.where,
                f"{shortest:g} > {hold:g} s",
                holds=shortest > hold,
                fault=f"a message held for {hold:g} s (TIME_LIMIT and the longest wait) comes again"
                f" after {shortest:g} s while the first is at work",
            )


def _queues(facts: Facts) -> Iterable[Reading]:
    options = facts.celery_options
    wanted = [JOB_QUEUE, MAINTENANCE_QUEUE]
    yield judged(
        "celery",
        f"queues {', '.join(options['queues'])}; task {options['task']}",
        holds=options["queues"] == wanted and options["task"] == TASK_NAME,
        fault=f"producers know {TASK_NAME} and {', '.join(wanted)}",
    )
    worker = None if facts.compose is None else facts.compose.find("worker")
    if worker is not None:
        words = worker.command
        named = worker.find_option("queues") or next(
            (after for word, after in pairwise(words) if word == "-Q"), None
        )
        yield judged(
            worker.where,
            f"consumes {named or 'all queues'}",
            holds=named is None or set(named.split(",")) == set(wanted),
            fault=f"it must consume {', '.join(wanted)}: nothing else does",
        )


def _cluster(facts: Facts) -> Iterable[Reading]:
    if not isinstance(facts.celery, str):
        yield from _key_prefixes(facts.celery)
    redis = None if facts.compose is None else facts.compose.find("redis")
    if redis is not None:
        yield _off(redis.where, (redis.find_option("cluster-enabled") or "no") != "no")
    for template in facts.templates:
        for resource in template.of_type(
            "AWS::ElastiCache::ReplicationGroup",
            "AWS::ElastiCache::ServerlessCache",
            "AWS::MemoryDB::Cluster",
        ):
            yield _off(resource.where, _is_cluster(resource))
    if not isinstance(facts.servers.redis, str):
        yield _off("redis server", facts.servers.redis.is_cluster)


def _key_prefixes(options: Mapping[str, Any]) -> Iterator[Reading]:
    for name in TRANSPORTS:
        prefix = options[name].get("global_keyprefix")
        yield judged(
            "celery",
            f"{name}: {f'prefix {prefix!r}' if prefix else 'no key prefix'}",
            holds=not prefix,
            fault=f"global_keyprefix {prefix!r} hides queues and records from everybody else",
        )


def _is_cluster(resource: Resource) -> bool:
    if resource.type != "AWS::ElastiCache::ReplicationGroup":
        return True  # These know no other mode.
    properties = resource.properties
    return (
        str(properties.get("ClusterMode", "disabled")).lower() != "disabled"
        or (resource.find_number("NumNodeGroups", 1) or 1) > 1
        or str(properties.get("CacheParameterGroupName", "")).endswith(".cluster.on")
    )


def _off(where: str, is_on: bool) -> Reading:
    return judged(
        where,
        f"cluster mode {'on' if is_on else 'off'}",
        holds=not is_on,
        fault="the keys of one job lie in several slots, and kombu follows no redirection",
    )


def _memory(facts: Facts) -> Iterable[Reading]:
    redis = None if facts.compose is None else facts.compose.find("redis")
    if redis is not None:
        limit = bytes_of(redis.find_option("maxmemory") or "0") or 0
        yield _kept(redis.where, redis.find_option("maxmemory-policy"), limit)
    for template in facts.templates:
        for resource in template.of_type("AWS::ElastiCache::ParameterGroup"):
            policy = (resource.properties.get("Properties") or {}).get("maxmemory-policy")
            yield _kept(resource.where, policy, None)
        groups = template.of_type("AWS::ElastiCache::ParameterGroup")
        for resource in template.of_type("AWS::ElastiCache::ReplicationGroup"):
            if not groups:
                yield Reading(resource.where, "default parameters", "these evict: volatile-lru")
    if not isinstance(facts.servers.redis, str):
        server = facts.servers.redis
        yield _kept("redis server", server.policy, server.limit_bytes or None)


def _kept(where: str, policy: object, limit_bytes: int | None) -> Reading:
    size = "" if limit_bytes is None else f", maxmemory {in_megabytes(limit_bytes)}"
    fault = None
    if policy != POLICY:
        fault = f"maxmemory-policy is {policy}: a full memory throws away queue and events"
    elif limit_bytes == 0:
        fault = "maxmemory is not set: it grows until the machine ends it"
    return Reading(where, f"{policy}{size}", fault)


def _persistence(facts: Facts) -> Iterable[Reading]:
    redis = None if facts.compose is None else facts.compose.find("redis")
    if redis is not None:
        found = redis.find_option("appendonly") or "no"
        yield judged(
            redis.where,
            f"appendonly {found}",
            holds=found == "yes",
            fault="a restart forgets queue and events; only the sweep brings jobs back",
        )
    if isinstance(facts.servers.redis, str):
        if redis is None:
            raise NotChecked(facts.servers.redis)
        return
    server = facts.servers.redis
    yield judged(
        "redis server",
        f"append-only file {'on' if server.has_append_only_file else 'off'}, "
        f"{server.replicas} replicas",
        holds=server.has_append_only_file or server.replicas > 0,
        fault="a restart forgets queue and events; only the sweep brings jobs back",
    )


def _version(facts: Facts) -> Iterable[Reading]:
    version = facts.installed.get("celery")
    if version is None:
        raise NotChecked("Celery is not installed")
    numbers = tuple(int(word) for word in version.split(".")[:3] if word.isdecimal())
    yield judged(
        "installed",
        f"celery {version}",
        holds=(5, 6, 3) <= numbers < (5, 7),
        fault="5.7.0 ends when Redis restarts under a job, 5.6.2 never consumes again",
    )


CELERY_RULES = (
    Rule(
        "celery-version",
        "Celery is a release that survives a restart of Redis",
        "Install celery>=5.6.3,<5.7 (requirements.lock).",
        _version,
    ),
    Rule(
        "celery-limits",
        "Celery has the limits of the settings, and retries no job that reached them",
        "Take them from the settings in local/celery_app.py and local/worker/tasks.py.",
        _limits,
    ),
    Rule(
        "celery-acknowledgement",
        "Celery acknowledges, retries and prefetches as the sweep expects",
        "Set the option in local/celery_app.py.",
        _acknowledgement,
    ),
    Rule(
        "celery-connection",
        "Celery notices a Redis that is frozen or gone",
        "Set broker_transport_options in local/celery_app.py.",
        _connection,
    ),
    Rule(
        "broker-visibility",
        "The broker hides a message for longer than a job holds it",
        f"Make TIME_LIMIT less; RETRY_BACKOFF_MAX counts from {in_seconds(RETRY_AFTER_MAX_SECONDS)}"
        " on. All three visibility timeouts must be the same.",
        _visibility,
    ),
    Rule(
        "queues",
        "Workers consume the queues that producers know",
        "Give the worker no --queues, or both; names stand in shared/adapters/celery_broker.py.",
        _queues,
    ),
    Rule(
        "redis-cluster",
        "Cluster mode of Redis is off, and no keys have a prefix",
        "Use one primary with replicas (ElastiCache: cluster mode disabled, not serverless).",
        _cluster,
    ),
    Rule(
        "redis-memory",
        "A full Redis refuses writes and evicts nothing",
        f"Set maxmemory, and maxmemory-policy {POLICY}.",
        _memory,
    ),
    Rule(
        "redis-persistence",
        "Redis keeps queue and events over a restart",
        "Set appendonly yes, or give it a replica.",
        _persistence,
    ),
)

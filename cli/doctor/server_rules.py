"""Rules on PostgreSQL, Redis and SQS."""

from collections.abc import Iterable

from cli.doctor.facts import Facts
from cli.doctor.rule import NotChecked, Observation, known, rule
from local.web.sizes import THREADS

POSTGRES_LEAST = 14
"""The oldest release that PostgreSQL still mends in 2026 (postgresql.org, "Versioning Policy")."""

CONNECTIONS_OF_A_SLOT = 3
"""A child's: to work, for leases, and one that may overflow (`create_pooled_engine`)."""

CONNECTIONS_LEAST = CONNECTIONS_OF_A_SLOT + 1 + THREADS + 1
"""One worker with one slot and its sweep; the API's threads and its watcher."""

SKEW_MOST_SECONDS = 5.0
"""Leases go by PostgreSQL's clock and signed addresses by this machine's; logs are read by both."""

POLICY = "noeviction"

VISIBILITY_FACTOR = 6
"""Times the function's timeout (Lambda guide, "Configuring an Amazon SQS queue as an event
source")."""


@rule(
    "postgresql",
    "PostgreSQL is recent enough, and has the schema of this code",
    mend="Run darkroom migrate; update the server.",
)
def _postgresql(facts: Facts) -> Iterable[Observation]:
    server, newest = known(facts.postgres), facts.versions["schema"]
    fault = f"older than {POSTGRES_LEAST}"
    yield f"version {server.version}", server.version >= POSTGRES_LEAST, fault
    found = f"schema at {server.revision or 'nothing'}"
    yield found, server.revision == newest, f"this code needs {newest}"


@rule(
    "postgresql-connections",
    "PostgreSQL has free connections for an API and a worker",
    mend="Make max_connections greater, or close what other programs have open.",
)
def _postgresql_connections(facts: Facts) -> Iterable[Observation]:
    free = known(facts.postgres).free_connections
    slots = max(0, free - CONNECTIONS_LEAST) // CONNECTIONS_OF_A_SLOT + 1
    yield (
        f"{free} free: for another API, and a worker of {slots} slots",
        free >= CONNECTIONS_LEAST,
        f"{free} free connections; an API and a worker of one slot need {CONNECTIONS_LEAST}",
    )


@rule(
    "clocks",
    "The clocks of the servers agree with this one",
    mend="Let every machine keep its time by NTP.",
)
def _clocks(facts: Facts) -> Iterable[Observation]:
    servers = {"PostgreSQL": facts.postgres, "Redis": facts.redis}
    skews = {
        name: server.skew_seconds for name, server in servers.items() if not isinstance(server, str)
    }
    if not skews:
        raise NotChecked("; ".join(f"{name}: {reason}" for name, reason in servers.items()))
    for name, seconds in skews.items():
        yield (
            f"{name} {seconds:+.1f} s",
            abs(seconds) <= SKEW_MOST_SECONDS,
            f"the clock of {name} and this one are more than {SKEW_MOST_SECONDS:g} s apart",
        )


@rule(
    "redis-cluster",
    "Cluster mode of Redis is off",
    mend="Use one primary with replicas (ElastiCache: cluster mode disabled, not serverless).",
)
def _redis_cluster(facts: Facts) -> Iterable[Observation]:
    is_on = known(facts.redis).is_cluster
    fault = "the keys of one job lie in several slots, and kombu follows no redirection"
    yield f"cluster mode {'on' if is_on else 'off'}", not is_on, fault


@rule(
    "redis-memory",
    "A full Redis refuses writes and evicts nothing",
    mend=f"Set maxmemory, and maxmemory-policy {POLICY}.",
)
def _redis_memory(facts: Facts) -> Iterable[Observation]:
    server = known(facts.redis)
    limit = f"{server.limit_bytes / 1024**2:g} MB" if server.limit_bytes else "not set"
    yield (
        f"{server.policy}, maxmemory {limit}",
        server.policy == POLICY,
        f"maxmemory-policy is {server.policy}: a full memory throws away queue and events",
    )


@rule(
    "redis-persistence",
    "Redis keeps queue and events over a restart",
    mend="Set appendonly yes, or give it a replica.",
)
def _redis_persistence(facts: Facts) -> Iterable[Observation]:
    server = known(facts.redis)
    yield (
        f"append-only file {'on' if server.has_append_only_file else 'off'}, "
        f"{server.replicas} replicas",
        server.has_append_only_file or server.replicas > 0,
        "a restart forgets queue and events; only the sweep brings jobs back",
    )


@rule(
    "queue-visibility",
    "The SQS queue hides a message for six times the worker's timeout",
    mend="Make its VisibilityTimeout greater.",
)
def _queue_visibility(facts: Facts) -> Iterable[Observation]:
    found = known(facts.queue).visibility_seconds
    needed = VISIBILITY_FACTOR * known(facts.settings).time_limit
    fault = f"less than {VISIBILITY_FACTOR} times TIME_LIMIT"
    yield f"{found:g} >= {needed:g} s", found >= needed, fault


@rule(
    "dead-letters",
    "A message that cannot be handled becomes a dead letter, late enough",
    mend="Set a RedrivePolicy whose maxReceiveCount is greater than MAX_ATTEMPTS.",
)
def _dead_letters(facts: Facts) -> Iterable[Observation]:
    found, attempts = known(facts.queue).max_receives, known(facts.settings).max_attempts
    yield (
        f"maxReceiveCount {found} > {attempts}",
        found is not None and found > attempts,
        f"{attempts} attempts are as many deliveries, and one is in vain whenever PostgreSQL is "
        "unavailable or Lambda throttles",
    )


SERVER_RULES = (
    _postgresql,
    _postgresql_connections,
    _clocks,
    _redis_cluster,
    _redis_memory,
    _redis_persistence,
    _queue_visibility,
    _dead_letters,
)

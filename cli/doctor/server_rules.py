"""Rules on PostgreSQL, Redis and SQS."""

from collections.abc import Iterable

from cli.doctor.rule import Facts, NotChecked, Observation, known, rule
from local.web.sizes import THREADS
from shared.events.connection import CLUSTER_ALTERNATIVE
from shared.events.publisher import ENDED_SECONDS

POSTGRES_LEAST = 14
"""The oldest release that PostgreSQL still mends in 2026 (postgresql.org, "Versioning Policy")."""

CONNECTIONS_OF_A_SLOT = 3
"""A child's: to work, for leases, and one that may overflow (`create_pooled_engine`)."""

CONNECTIONS_LEAST = CONNECTIONS_OF_A_SLOT + 3 + THREADS + 1
"""One worker with one slot, and its main process; the API's threads and its watcher."""

SKEW_MOST_SECONDS = 5.0
"""Leases go by PostgreSQL's clock and signed addresses by this machine's; logs are read by both."""

TRANSACTION_MOST_SECONDS = 3600.0
"""What has changed since then stays in the indexes, and is read again (docs/performance.md)."""

POLICY = "noeviction"

RECORD_BYTES = 500
"""What Redis keeps of an ended job for EVENT_TTL_SECONDS: Celery's result record, and its key."""

EVENTS_BYTES = 1_300
"""Its stream and its fence, which leave minutes after the end."""

VISIBILITY_FACTOR = 6
"""Times the function's timeout (Lambda guide, "Configuring an Amazon SQS queue as an event
source")."""


@rule(mend="Run darkroom migrate; update the server.")
def postgresql(facts: Facts) -> Iterable[Observation]:
    """PostgreSQL is recent enough, and has the schema of this code."""
    server, newest = known(facts.postgres), facts.versions["schema"]
    fault = f"older than {POSTGRES_LEAST}"
    yield f"version {server.version}", server.version >= POSTGRES_LEAST, fault
    found = f"schema at {server.revision or 'nothing'}"
    yield found, server.revision == newest, f"this code needs {newest}"


@rule(mend="Make max_connections greater, or close what other programs have open.")
def postgresql_connections(facts: Facts) -> Iterable[Observation]:
    """PostgreSQL has free connections for an API and a worker."""
    free = known(facts.postgres).free_connections
    slots = max(0, free - CONNECTIONS_LEAST) // CONNECTIONS_OF_A_SLOT + 1
    yield (
        f"{free} free: for another API, and a worker of {slots} slots",
        free >= CONNECTIONS_LEAST,
        f"{free} free connections; an API and a worker of one slot need {CONNECTIONS_LEAST}",
    )


@rule(mend="Have the pooler pool sessions, not transactions (PgBouncer: pool_mode = session).")
def postgresql_sessions(facts: Facts) -> Iterable[Observation]:
    """A connection to PostgreSQL keeps the limits that it sets."""
    shares = known(facts.postgres).shares_sessions
    yield (
        "connections share sessions" if shares else "a session for each connection",
        not shares,
        "a pooler runs the statements of a connection in several sessions: statement_timeout, "
        "lock_timeout and idle_in_transaction_session_timeout do not hold",
    )


@rule(mend="End it, and set idle_in_transaction_session_timeout for the role that left it open.")
def postgresql_transactions(facts: Facts) -> Iterable[Observation]:
    """No transaction is open for so long that statements grow slow beside it."""
    seconds = known(facts.postgres).oldest_transaction_seconds
    yield (
        f"the oldest transaction is open for {seconds:.0f} s",
        seconds <= TRANSACTION_MOST_SECONDS,
        f"a transaction is open for {seconds / 3600:.1f} h: PostgreSQL keeps all that has changed "
        "since, and statements visit it",
    )


@rule(mend="Let every machine keep its time by NTP.")
def clocks(facts: Facts) -> Iterable[Observation]:
    """The clocks of the servers agree with this one."""
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


@rule(mend=CLUSTER_ALTERNATIVE)
def redis_cluster(facts: Facts) -> Iterable[Observation]:
    """Cluster mode of Redis is off."""
    is_on = known(facts.redis).is_cluster
    fault = "the keys of one job lie in several slots: workers and API refuse to start"
    yield f"cluster mode {'on' if is_on else 'off'}", not is_on, fault


@rule(mend=f"Set maxmemory, and maxmemory-policy {POLICY}.")
def redis_memory(facts: Facts) -> Iterable[Observation]:
    """A full Redis refuses writes and evicts nothing."""
    server = known(facts.redis)
    limit = "not set"
    if server.limit_bytes:
        jobs = jobs_a_day(server.limit_bytes, known(facts.settings).event_ttl_seconds)
        limit = f"{server.limit_bytes / 1024**2:g} MB: {jobs:,} jobs a day"
    yield (
        f"{server.policy}, maxmemory {limit}",
        server.policy == POLICY,
        f"maxmemory-policy is {server.policy}: a full memory throws away queue and events",
    )


@rule(mend="Set appendonly yes, or give it a replica.")
def redis_persistence(facts: Facts) -> Iterable[Observation]:
    """Redis keeps queue and events over a restart."""
    server = known(facts.redis)
    yield (
        f"append-only file {'on' if server.has_append_only_file else 'off'}, "
        f"{server.replicas} replicas",
        server.has_append_only_file or server.replicas > 0,
        "a restart forgets queue and events; only the sweep brings jobs back",
    )


@rule(mend="Set QUEUE_PREFIX, or have the other application use other queues.")
def queues_of_others(facts: Facts) -> Iterable[Observation]:
    """No other Celery application uses our queues."""
    others = known(facts.redis).others
    yield (
        ", ".join(others) or "no task and no worker of others",
        not others,
        "its workers throw our messages away, and ours must leave its tasks in the queue",
    )


@rule(mend="Make its VisibilityTimeout greater.")
def queue_visibility(facts: Facts) -> Iterable[Observation]:
    """The SQS queue hides a message for six times the worker's timeout."""
    found = known(facts.queue).visibility_seconds
    needed = VISIBILITY_FACTOR * known(facts.settings).time_limit
    fault = f"less than {VISIBILITY_FACTOR} times TIME_LIMIT"
    yield f"{found:g} >= {needed:g} s", found >= needed, fault


@rule(mend="Set a RedrivePolicy whose maxReceiveCount is greater than MAX_ATTEMPTS.")
def dead_letters(facts: Facts) -> Iterable[Observation]:
    """A message that cannot be handled becomes a dead letter, late enough."""
    found, attempts = known(facts.queue).max_receives, known(facts.settings).max_attempts
    yield (
        f"maxReceiveCount {found} > {attempts}",
        found is not None and found > attempts,
        f"{attempts} attempts are as many deliveries, and one is in vain whenever PostgreSQL is "
        "unavailable or Lambda throttles",
    )


def jobs_a_day(limit_bytes: int, record_seconds: float) -> int:
    """Return how many jobs that end within a day Redis has memory for, if few wait or run."""
    kept = RECORD_BYTES * record_seconds + EVENTS_BYTES * ENDED_SECONDS
    return int(limit_bytes * 86_400 / kept)

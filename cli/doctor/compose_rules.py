"""Rules on docker-compose.yml."""

from collections.abc import Iterable

from cli.doctor.compose_file import Service
from cli.doctor.facts import Facts
from cli.doctor.parts import KNOWN_NAMES
from cli.doctor.quantities import bytes_of, in_megabytes
from cli.doctor.rule import Reading, Rule, judged
from local.web.sizes import GRACE_SECONDS, THREADS

FOREIGN = ("AWS_", "CELERY_", "FLOWER_", "MALLOC_", "PYTHON", "TZ", "NO_PROXY", "HTTPS_PROXY")
"""How the names of variables begin that our processes have but other software reads."""

REQUIRED = ("DATABASE_URL", "REDIS_URL")

HAND_BACK_SECONDS = 30.0
"""What a worker needs after its grace: the children hand their jobs back (a connection and a
statement, 8 s, and an event), and the sweep ends its pass (10 s)."""

API_STOP_SECONDS = GRACE_SECONDS + 5.0

REDIS_SHARE = 0.75
"""Of a container's memory; the rest is for buffers, and for the fork that rewrites the file."""

MEMORY_LEAST_BYTES = 256 * 1024**2
"""A process of this project takes 100 MB when it has imported everything; pictures come on top."""

CONNECTIONS_DEFAULT = 100
CONNECTIONS_OF_A_CHILD = 3
CONNECTIONS_OF_A_SWEEP = 1

LOOPBACK = ("127.0.0.1:", "[::1]:", "::1:")

DONE, HEALTHY = "service_completed_successfully", "service_healthy"


def is_known(name: str) -> bool:
    """Return whether a variable is a setting, or is there for other software."""
    return name in KNOWN_NAMES or name.startswith(FOREIGN)


def _names(facts: Facts) -> Iterable[Reading]:
    for service in facts.get_compose().ours:
        unknown = [name for name in service.names if not is_known(name)]
        yield judged(
            service.where,
            f"{len(service.names)} names",
            holds=not unknown,
            fault=f"no setting: {', '.join(unknown)}",
        )


def _required(facts: Facts) -> Iterable[Reading]:
    for part in facts.get_compose().parts:
        missing = [name for name in REQUIRED if not part.gives(name)]
        yield judged(
            part.where,
            ", ".join(name for name in REQUIRED if name not in missing) or "nothing",
            holds=not missing,
            fault=f"not set: {', '.join(missing)}",
        )


def _stop_grace(facts: Facts) -> Iterable[Reading]:
    worker = facts.get_service("worker")
    parts = {part.where: part for part in facts.get_compose().parts}
    part = parts.get(worker.where, facts.environment)
    grace = part.find_number("SHUTDOWN_GRACE_SECONDS") or 0.0
    yield _stopping(worker, grace + HAND_BACK_SECONDS, f"SHUTDOWN_GRACE_SECONDS {grace:g}")
    api = facts.get_compose().find("api")
    if api is not None:
        yield _stopping(api, API_STOP_SECONDS, "open requests")


def _stopping(service: Service, needed: float, what: str) -> Reading:
    found = service.stop_grace_seconds
    return judged(
        service.where,
        "stop_grace_period cannot be read" if found is None else f"{found:g} >= {needed:g} s",
        holds=found is not None and found >= needed,
        fault=f"it is killed before it is done: {what} and what follows take {needed:g} s",
    )


def _order(facts: Facts) -> Iterable[Reading]:
    compose = facts.get_compose()
    served = {"migrate": DONE, "redis": HEALTHY}
    wanted = {"migrate": {"postgres": HEALTHY}, "api": served, "worker": served, "beat": served}
    for name, conditions in wanted.items():
        service = compose.find(name)
        if service is None:
            continue
        late = [
            f"{other} ({condition})"
            for other, condition in conditions.items()
            if compose.find(other) is not None and service.waits_for.get(other) != condition
        ]
        yield judged(
            service.where,
            ", ".join(f"after {other}" for other in conditions),
            holds=not late,
            fault=f"does not wait for {', '.join(late)}",
        )
    for name in ("postgres", "redis"):
        service = compose.find(name)
        if service is not None:
            yield judged(
                service.where,
                "has a health check" if "healthcheck" in service.options else "no health check",
                holds="healthcheck" in service.options,
                fault="nobody can wait for it without a health check",
            )


def _ports(facts: Facts) -> Iterable[Reading]:
    for service in facts.get_compose().services:
        for port in service.ports:
            yield judged(
                service.where,
                port.lstrip(":"),
                holds=port.startswith(LOOPBACK),
                fault=f"{port.lstrip(':')} is open to every machine that reaches this one",
            )


def _memory(facts: Facts) -> Iterable[Reading]:
    compose = facts.get_compose()
    redis = compose.find("redis")
    if redis is not None and redis.memory_bytes is not None:
        used = bytes_of(redis.find_option("maxmemory") or "0") or 0
        limit = redis.memory_bytes * REDIS_SHARE
        yield judged(
            redis.where,
            f"maxmemory {in_megabytes(used)} <= {in_megabytes(limit)}",
            holds=used <= limit,
            fault=f"more than {REDIS_SHARE:.0%} of the container's memory: the kernel kills it "
            "before it refuses writes",
        )
    for service in compose.ours:
        if service.memory_bytes is not None:
            yield judged(
                service.where,
                in_megabytes(service.memory_bytes),
                holds=service.memory_bytes >= MEMORY_LEAST_BYTES,
                fault=f"less than {in_megabytes(MEMORY_LEAST_BYTES)}",
            )


def _connections(facts: Facts) -> Iterable[Reading]:
    postgres, worker = facts.get_service("postgres"), facts.get_service("worker")
    words = [word.partition("=") for word in postgres.command]
    given = [int(text) for name, _, text in words if name == "max_connections" and text.isdecimal()]
    limit = given[-1] if given else CONNECTIONS_DEFAULT
    concurrency = worker.find_option("concurrency") or ""
    if not concurrency.isdecimal():
        yield Reading(worker.where, "concurrency of the machine's processors", None)
        return
    replicas = int((worker.options.get("deploy") or {}).get("replicas", 1))
    of_a_worker = int(concurrency) * CONNECTIONS_OF_A_CHILD + CONNECTIONS_OF_A_SWEEP
    needed = replicas * of_a_worker + THREADS + 1
    yield judged(
        postgres.where,
        f"{needed} <= {limit} connections",
        holds=needed <= limit,
        fault=f"{replicas} workers of {concurrency} and the API open up to {needed}",
    )


COMPOSE_RULES = (
    Rule(
        "compose-names",
        "Every name in the environment of our services is a setting",
        "Correct the name; docs/reference/settings.md lists them.",
        _names,
    ),
    Rule(
        "compose-required",
        "Every required setting is there",
        "Set it for the service in docker-compose.yml.",
        _required,
    ),
    Rule(
        "stop-grace",
        "A container that is told to stop has time to hand its work back",
        "Make stop_grace_period greater, or SHUTDOWN_GRACE_SECONDS less.",
        _stop_grace,
    ),
    Rule(
        "start-order",
        "Services start after those that they need",
        "Set depends_on with its condition, and a health check for servers.",
        _order,
    ),
    Rule(
        "ports",
        "Ports are open to this machine alone",
        "Begin the port with 127.0.0.1: and let others in by a proxy.",
        _ports,
    ),
    Rule(
        "container-memory",
        "Memory limits leave room for what runs",
        "Make mem_limit greater, or maxmemory less.",
        _memory,
    ),
    Rule(
        "connections",
        "PostgreSQL has room for the connections of workers and API",
        "Make max_connections greater, or --concurrency less.",
        _connections,
    ),
)

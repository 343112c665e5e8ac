"""docker-compose.yml: what must hold between services, limits and settings; each rule broken."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from devkit.secret_folder import KEPT, SECRETS_OF, fill
from local.web.sizes import GRACE_SECONDS, THREADS
from shared.adapters.celery_broker import QUEUES
from shared.errors import ConfigurationError
from shared.settings import Settings
from tests.support.compose_config import Config, compose_config
from tests.support.deployment_settings import accepted, differing, legible, misspelt

HAND_BACK_SECONDS = 30
"""What a worker needs after its grace: the children hand their jobs back (a connection and a
statement, 8 s, and an event), and the sweep ends its pass (10 s)."""

STOP_SECONDS = "10s"
"""Between SIGTERM and SIGKILL, unless the file says more (Compose Specification)."""

REDIS_SHARE = 0.75
"""Of a container's memory; the rest is for buffers, and for the fork that rewrites the file."""

MEMORY_LEAST_MEGABYTES = 256
"""A process of ours takes 100 MB when it has imported everything; pictures come on top."""

CONNECTIONS_OF_A_CHILD = 3
CONNECTIONS_OF_A_SWEEP = 1

DONE, HEALTHY = "service_completed_successfully", "service_healthy"
SERVED = {"migrate": DONE, "redis": HEALTHY}
WAITS_FOR = {
    "postgres": {"secrets": DONE},
    "migrate": {"postgres": HEALTHY},
    **dict.fromkeys(("api", "worker", "beat", "flower"), SERVED),
}

Rule = Callable[[Config], Iterator[str]]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folders that the containers find at /run/secrets, filled as the first one does."""
    given, folders = (tmp_path_factory.mktemp(name) for name in ("given", "folders"))
    for name in compose_config()["secrets"]:
        (given / name).touch()
    for name in (KEPT, *SECRETS_OF):
        (folders / name).mkdir()
    fill(given, folders)
    return folders


def ours(config: Config) -> dict[str, dict[str, Any]]:
    """Return the services of our image that have settings."""
    services = config["services"].items()
    image = config["services"]["worker"]["image"]
    return {name: one for name, one in services if one["image"] == image and "environment" in one}


def settings_of(config: Config) -> tuple[dict[str, Settings], list[str]]:
    """Return the settings of all services, and what others refuse."""
    return accepted({name: service["environment"] for name, service in ours(config).items()})


def option(service: dict[str, Any], name: str) -> str | None:
    """Return the value of a long option of a command, as `--maxmemory 256mb`; None without it."""
    words = " ".join(service.get("command") or ()).replace("=", " ").split()
    return words[words.index(f"--{name}") + 1] if f"--{name}" in words else None


def megabytes(text: str) -> float:
    """Return a size of redis.conf, as `256mb`."""
    number, unit = float(text[:-2]), text[-2:]
    return number * {"kb": 1 / 1024, "mb": 1, "gb": 1024}[unit]


def environments(config: Config) -> Iterator[str]:
    """Every service starts; no secret stands in a variable; all services have the same limits."""
    loaded, refusals = settings_of(config)
    yield from refusals
    yield from differing(loaded)
    try:
        _ = loaded["api"].signing_secret
    except (KeyError, ConfigurationError) as error:
        yield f"api: {error}"
    for name, service in ours(config).items():
        variables = service["environment"]
        is_local = variables.get("ENVIRONMENT") in (None, "local")
        yield from misspelt(variables)
        yield from (f"{name}: {fault}" for fault in legible(variables, is_local=is_local))


def stopping(config: Config) -> Iterator[str]:
    """A container that is stopped has time to hand its work back."""
    needed = {"api": GRACE_SECONDS + 5.0}
    for name, settings in settings_of(config)[0].items():
        if name == "worker":
            needed[name] = settings.shutdown_grace_seconds + HAND_BACK_SECONDS
    for name, seconds in needed.items():
        given = config["services"][name].get("stop_grace_period", STOP_SECONDS)
        duration = TypeAdapter(timedelta).validate_python(f"PT{given.upper()}")
        if duration < timedelta(seconds=seconds):
            yield f"{name}: stop_grace_period is {given}, what it does takes {seconds:g} s"


def order(config: Config) -> Iterator[str]:
    """Services start after those that they need."""
    for name, conditions in WAITS_FOR.items():
        given = config["services"][name].get("depends_on", {})
        found = {other: one["condition"] for other, one in given.items()}
        yield from (
            f"{name} does not wait for {other} ({condition})"
            for other, condition in conditions.items()
            if found.get(other) != condition
        )
    for name in ("postgres", "redis", "api", "worker", "beat"):
        if "healthcheck" not in config["services"][name]:
            yield f"{name}: no health check"


def ports(config: Config) -> Iterator[str]:
    """Only this machine reaches a port; TRUSTED_NETWORKS trusts the gateway for this reason."""
    for name, service in config["services"].items():
        for port in service.get("ports", ()):
            if port.get("host_ip") != "127.0.0.1":
                yield f"{name}: port {port['published']} is open to other machines"


def memory(config: Config) -> Iterator[str]:
    """Limits leave room for what runs."""
    redis = config["services"]["redis"]
    most = megabytes(option(redis, "maxmemory") or "0mb")
    if most > int(redis["mem_limit"]) / 1024**2 * REDIS_SHARE:
        yield f"redis: maxmemory {most:g} MB is more than {REDIS_SHARE:.0%} of the container's"
    for name, service in ours(config).items():
        limit = int(service.get("mem_limit", 2**40)) / 1024**2
        if limit < MEMORY_LEAST_MEGABYTES:
            yield f"{name}: {limit:g} MB is less than {MEMORY_LEAST_MEGABYTES}"


def rights(config: Config) -> Iterator[str]:
    """Whatever breaks into a container can change nothing, gain nothing, and use bounded memory."""
    for name, service in config["services"].items():
        if not service.get("read_only"):
            yield f"{name}: its files can be changed"
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name}: it keeps capabilities"
        if service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name}: a program may gain rights"
        if "mem_limit" not in service:
            yield f"{name}: no limit of memory"


def connections(config: Config) -> Iterator[str]:
    """PostgreSQL has room for the connections of workers and API."""
    postgres, worker = config["services"]["postgres"], config["services"]["worker"]
    words = " ".join(postgres.get("command") or ())
    limit = int((re.findall(r"max_connections=(\d+)", words) or [100])[0])
    children = int(option(worker, "concurrency") or 0)
    of_a_worker = children * CONNECTIONS_OF_A_CHILD + CONNECTIONS_OF_A_SWEEP
    needed = worker.get("deploy", {}).get("replicas", 1) * of_a_worker + THREADS + 1
    if needed > limit:
        yield f"{needed} connections of {limit}"


def redis(config: Config) -> Iterator[str]:
    """Redis keeps queue and events: over a restart, and when its memory is full."""
    service = config["services"]["redis"]
    if option(service, "maxmemory-policy") != "noeviction":
        yield f"maxmemory-policy is {option(service, 'maxmemory-policy')}"
    if option(service, "maxmemory") is None:
        yield "maxmemory is not set"
    if option(service, "appendonly") != "yes":
        yield "a restart forgets queue and events"
    if option(service, "cluster-enabled") not in (None, "no"):
        yield "the keys of one job lie in several slots"
    if "/data" not in {mount["target"] for mount in service["volumes"]}:
        yield "what Redis writes is lost with its container"


def queues(config: Config) -> Iterator[str]:
    """The worker consumes all queues: nothing else does."""
    worker = config["services"]["worker"]
    named = option(worker, "queues")
    if "-Q" in worker["command"] or (named is not None and {*named.split(",")} != {*QUEUES}):
        yield f"the worker does not consume {', '.join(QUEUES)}"


RULES: tuple[Rule, ...] = (
    environments, stopping, order, ports, memory, rights, connections, redis, queues,
)  # fmt: skip

BREAKS = {
    "api: {environment: {TIMELIMIT: '1'}}": "no setting: TIMELIMIT",
    "worker: {environment: {DATABASE_URL: !reset null}}": "worker: settings: DATABASE_URL is not",
    "worker: {environment: {MAX_ATTEMPTS: many}}": "worker: settings: MAX_ATTEMPTS",
    "api: {environment: {ENVIRONMENT: staging, AI_MOCK_MODE: 'true', "
    "SIGNING_KEY_FILE: !reset null}}": "SIGNING_KEY of at least 32",
    "worker: {environment: {TIME_LIMIT: '331'}}": "TIME_LIMIT differs",
    "api: {environment: {REDIS_URL: 'redis://elsewhere'}}": "REDIS_URL differs",
    "worker: {stop_grace_period: 1m}": "worker: stop_grace_period is 1m0s",
    "worker: {environment: {SHUTDOWN_GRACE_SECONDS: '300'}}": "what it does takes 330 s",
    "api: {stop_grace_period: 1s}": "api: stop_grace_period is 1s",
    "worker: {depends_on: !override [migrate, redis]}": "does not wait for migrate (service_c",
    "redis: {healthcheck: !reset null}": "redis: no health check",
    "api: {ports: !override ['8000:8000']}": "api: port 8000 is open",
    "redis: {mem_limit: 300m}": "more than 75% of the container's",
    "api: {mem_limit: 64m}": "api: 64 MB is less than 256",
    "redis: {read_only: false}": "redis: its files can be changed",
    "postgres: {cap_drop: !reset null}": "postgres: it keeps capabilities",
    "worker: {security_opt: !reset null}": "worker: a program may gain rights",
    "postgres: {mem_limit: !reset null}": "postgres: no limit of memory",
    "worker: {deploy: {replicas: 20}}": "connections of 100",
    "redis: {command: [redis-server, --maxmemory-policy, allkeys-lru]}": "is allkeys-lru",
    "redis: {command: [redis-server, --appendonly, 'yes']}": "maxmemory is not set",
    "redis: {command: [redis-server, --maxmemory, 256mb]}": "a restart forgets",
    "redis: {command: [redis-server, --cluster-enabled, 'yes']}": "several slots",
    "redis: {volumes: !override ['redis:/elsewhere']}": "lost with its container",
    "worker: {command: [celery, worker, --queues=default]}": "does not consume",
    "api: {environment: {SIGNING_KEY: 0123456789abcdef0123456789abcdef}}": "SIGNING_KEY in plain",
    "api: {environment: {ENVIRONMENT: staging, REDIS_URL: 'redis://:p@redis'}}": "REDIS_URL in p",
}
"""What another file changes in the services, and what must then be said."""


def read(secrets: Path, override: str = "", **variables: str) -> Config:
    """Return the services, with paths of secrets that this machine has."""
    config = compose_config(override, **variables)
    for service in ours(config).values():
        folders = [
            Path(mount["source"].partition("_")[0]).name
            for mount in service["volumes"]
            if mount["target"] == "/run/secrets"
        ]
        for name, value in service["environment"].items():
            if value is not None and folders:
                own = str(secrets / folders[0])
                service["environment"][name] = value.replace("/run/secrets", own)
    return config


def faults(config: Config) -> list[str]:
    """Return what is wrong with the services."""
    return [fault for rule in RULES for fault in rule(config)]


@pytest.mark.parametrize("variables", [{}, {"LEASE_SECONDS": "20"}, {"WORKER_CONCURRENCY": "20"}])
def test_every_rule_holds(variables: dict[str, str], secrets: Path) -> None:
    """Whatever a developer sets."""
    assert faults(read(secrets, **variables)) == []


@pytest.mark.parametrize(("override", "fault"), BREAKS.items())
def test_a_broken_rule_is_caught(override: str, fault: str, secrets: Path) -> None:
    """In words that name what is wrong."""
    config = read(secrets, f"services: {{{override}}}")
    assert fault in "\n".join(faults(config))

"""Every rule of `darkroom doctor`, broken: by a setting, in a file, in the code, on a server.

Those that only docker-compose.yml or template.yaml can break are in `deployment_breaks`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cli.doctor.facts import LEAST, Facts, PythonClaim
from cli.doctor.python_claims import bundle_claims
from tests.support.agreement import (
    COMPOSE,
    PROJECT,
    TEMPLATE,
    Break,
    Edit,
    command,
    function_variables,
    resource,
    service,
    variables,
    with_celery,
    with_postgres,
    with_redis,
    with_transport,
)
from tests.support.deployment_breaks import COMPOSE_BREAKS, TEMPLATE_BREAKS

PLAIN_CLUSTER = {"Type": "AWS::ElastiCache::ServerlessCache", "Properties": {"Engine": "valkey"}}

DATA, WORKFLOW = "cloud/data.yaml", ".github/workflows/ci.yml"


def with_code(**constants: Any) -> Callable[[Facts], Facts]:
    """Return a change of constants of the code."""
    return lambda facts: replace(facts, code=replace(facts.code, **constants))


def with_bundles(facts: Facts) -> Facts:
    """Return the facts with what this project's own makefiles build for."""
    return replace(facts, python=(*facts.python, *bundle_claims(PROJECT)))


def gateway(**properties: Any) -> Edit:
    """Return an edit of the event that leads from the gateway to the API's function."""

    def edit(document: dict[str, Any]) -> None:
        events = document["Resources"]["ApiFunction"]["Properties"]["Events"]
        next(iter(events.values()))["Properties"].update(properties)

    return edit


def tested_on(*versions: str) -> Edit:
    """Return an edit of the matrix of the workflow's tests."""

    def edit(document: dict[str, Any]) -> None:
        document["jobs"]["test"]["strategy"]["matrix"]["python"] = list(versions)

    return edit


SETTING_BREAKS = [
    Break("settings", "SOFT_TIME_LIMIT must be less", {"SOFT_TIME_LIMIT": "400"}),
    Break("settings", "MAX_ATTEMPTS", file=COMPOSE, edit=variables("worker", MAX_ATTEMPTS="many")),
    Break(
        "settings",
        "SIGNING_KEY of at least 32",
        file=COMPOSE,
        edit=variables("api", ENVIRONMENT="staging", AI_MOCK_MODE="true", SIGNING_KEY_FILE=None),
    ),
    Break(
        "settings-agree",
        "TIME_LIMIT differs",
        file=COMPOSE,
        edit=variables("worker", TIME_LIMIT="331"),
    ),
    Break(
        "settings-agree",
        "REDIS_URL differs: compose",
        file=COMPOSE,
        edit=variables("api", REDIS_URL="redis://:hidden@elsewhere:6379/0"),
    ),
    Break(
        "settings-agree",
        "TIME_LIMIT differs: 330",
        file=TEMPLATE,
        edit=function_variables("ApiFunction", TIME_LIMIT="331"),
    ),
    Break("soft-limit", "400 is not less than TIME_LIMIT 330", {"SOFT_TIME_LIMIT": "400"}),
    Break(
        "soft-limit",
        "330 is not less",
        file=TEMPLATE,
        edit=function_variables(None, SOFT_TIME_LIMIT="330"),
    ),
    Break("lease", "fewer than 4 extensions a lease", facts=with_code(extensions_a_lease=3)),
    Break("lease", "too late for a lease of 10 s", {"LEASE_SECONDS": "10"}),
    Break("lease", "60 is not less than TIME_LIMIT 50", {"TIME_LIMIT": "50"}),
    Break("sweep", "more than LEASE_SECONDS 60", {"SWEEP_SECONDS": "61"}),
    Break(
        "sweep",
        "more than LEASE_SECONDS 30",
        file=TEMPLATE,
        edit=function_variables("ReaperFunction", LEASE_SECONDS="30"),
    ),
    Break(
        "sweep",
        "nothing starts the reaper",
        file=TEMPLATE,
        edit=resource("ReaperFunction", Events={}),
    ),
    Break("dispatch-grace", "dispatch every waiting job again", {"DISPATCH_GRACE_SECONDS": "10"}),
    Break("event-lifetime", "may be silent for 1230 s", {"EVENT_TTL_SECONDS": "600"}),
    Break("gateway", "a quiet stream is cut off", facts=with_code(ping_seconds=30.0)),
    Break("gateway", "answer that waits 30 s", {"EVENT_WINDOW_SECONDS": "30"}),
    Break(
        "gateway",
        "does not come within 10 s  (template (local) ApiFunction (TimeoutInMillis 10000)",
        file=TEMPLATE,
        edit=gateway(TimeoutInMillis=10_000),
    ),
    Break("gateway", "answers 503 after 28 s", file=TEMPLATE, edit=gateway(TimeoutInMillis=28_000)),
    Break(
        "gateway", "no TimeoutInMillis above", file=TEMPLATE, edit=gateway(TimeoutInMillis=60_000)
    ),
    Break(
        "gateway",
        "does not come within 20 s",
        file=TEMPLATE,
        edit=resource("ApiFunction", Timeout=20),
    ),
    Break("gateway", "answers 503", file=TEMPLATE, edit=resource("ApiFunction", Timeout=60)),
]

CELERY_BREAKS = [
    Break(
        "celery-version",
        "5.7.0 ends when Redis restarts",
        facts=lambda facts: replace(facts, installed={"celery": "5.7.0"}),
    ),
    Break("celery-limits", "TIME_LIMIT is 330", facts=with_celery(task_time_limit=None)),
    Break("celery-limits", "paid for again", facts=with_celery(never_retried=[])),
    Break(
        "celery-acknowledgement",
        "delivered without end",
        facts=with_celery(task_reject_on_worker_lost=True),
    ),
    Break("celery-connection", "frozen Redis", facts=with_transport(socket_timeout=None)),
    Break("celery-connection", "go unnoticed", facts=with_transport(health_check_interval=0)),
    Break(
        "broker-visibility", "shortest one counts", facts=with_transport(visibility_timeout=1800)
    ),
    Break("broker-visibility", "comes again", {"TIME_LIMIT": "3000"}),
    Break("queues", "producers know", facts=with_celery(queues=["celery"])),
    Break(
        "queues",
        "nothing else does",
        file=COMPOSE,
        edit=command("worker", "--without-mingle", "--queues=default"),
    ),
    Break("redis-cluster", "hides queues", facts=with_transport(global_keyprefix="shop:")),
    Break(
        "redis-cluster",
        "several slots",
        file=COMPOSE,
        edit=service("redis", command=["redis-server", "--cluster-enabled", "yes"]),
    ),
    Break(
        "redis-cluster",
        "several slots",
        file=TEMPLATE,
        edit=lambda document: document["Resources"].update(Cluster=PLAIN_CLUSTER),
    ),
    Break("redis-cluster", "several slots", file=DATA, edit=resource("Cache", NumNodeGroups=2)),
    Break("redis-cluster", "several slots", facts=with_redis(is_cluster=True)),
    Break(
        "redis-memory",
        "maxmemory-policy is allkeys-lru",
        file=COMPOSE,
        edit=command("redis", "noeviction", "allkeys-lru"),
    ),
    Break(
        "redis-memory",
        "maxmemory is not set",
        file=COMPOSE,
        edit=command("redis", "--maxmemory", "--x"),
    ),
    Break(
        "redis-memory",
        "maxmemory-policy is allkeys-lfu",
        file=DATA,
        edit=resource("CacheParameters", Properties={"maxmemory-policy": "allkeys-lfu"}),
    ),
    Break(
        "redis-memory",
        "these evict",
        file=DATA,
        edit=lambda document: document["Resources"].pop("CacheParameters"),
    ),
    Break("redis-memory", "volatile-lru", facts=with_redis(policy="volatile-lru")),
    Break(
        "redis-persistence",
        "appendonly",
        file=COMPOSE,
        edit=command("redis", "--appendonly", "--x"),
    ),
    Break("redis-persistence", "a restart forgets", facts=with_redis(has_append_only_file=False)),
]

PROJECT_BREAKS = [
    Break(
        "python",
        "not supported by pyproject.toml: 3.9",
        file=TEMPLATE,
        edit=lambda document: document["Globals"]["Function"].update(Runtime="python3.9"),
    ),
    Break(
        "python",
        "template.yaml says 3.14  (cloud/bundle.mk, Makefile)",
        file=TEMPLATE,
        edit=lambda document: document["Globals"]["Function"].update(Runtime="python3.14"),
        facts=with_bundles,
    ),
    Break("python", "missing: 3.12", file=WORKFLOW, edit=tested_on("3.11", "3.13", "3.14")),
    # Other jobs of the workflow run on 3.13: they must not stand for the tests.
    Break("python", "missing: 3.13", file=WORKFLOW, edit=tested_on("3.11", "3.12", "3.14")),
    Break(
        "python",
        "missing: 3.11, 3.12, 3.14  (workflows)",
        file=WORKFLOW,
        edit=lambda document: document["jobs"]["test"].pop("strategy"),
    ),
    Break(
        "python",
        "the oldest of the classifiers is 3.11",
        facts=lambda facts: replace(
            facts, python=(*facts.python, PythonClaim(LEAST, frozenset({"3.12"}), is_all=False))
        ),
    ),
    Break(
        "secrets",
        "reads SIGNING_KEY",
        file=COMPOSE,
        edit=variables("api", SIGNING_KEY_FILE=None, SIGNING_KEY="0123456789abcdef" * 2),
    ),
    Break(
        "secrets",
        "reads REDIS_URL",
        file=COMPOSE,
        edit=variables("api", ENVIRONMENT="staging", REDIS_URL="redis://:hidden@redis:6379/0"),
    ),
    Break(
        "secrets",
        "reads DATABASE_URL",
        file=TEMPLATE,
        edit=function_variables(
            None, DATABASE_URL={"Fn::Sub": "{{resolve:secretsmanager:${SecretArn}}}"}
        ),
    ),
    Break("postgresql", "older than 14", facts=with_postgres(version=12)),
    Break("postgresql", "this code needs", facts=with_postgres(revision="0001")),
    Break("clocks", "5 s apart", facts=with_redis(skew_seconds=-60.0)),
]

BREAKS = [*SETTING_BREAKS, *CELERY_BREAKS, *COMPOSE_BREAKS, *TEMPLATE_BREAKS, *PROJECT_BREAKS]

"""Every rule of `darkroom doctor`, broken: by a setting, in a file, in the code, on a server."""

from dataclasses import replace

from local.doctor.facts import LEAST, PythonClaim
from local.doctor.gathering import probe_handlers
from tests.support.agreement import (
    COMPOSE,
    TEMPLATE,
    Break,
    command,
    event_source,
    function_variables,
    resource,
    service,
    variables,
    with_celery,
    with_postgres,
    with_queue,
    with_redis,
    with_transport,
)

PLAIN_CLUSTER = {"Type": "AWS::ElastiCache::ServerlessCache", "Properties": {"Engine": "valkey"}}

SETTING_BREAKS = [
    Break("settings", "SOFT_TIME_LIMIT must be less", {"SOFT_TIME_LIMIT": "400"}),
    Break("settings", "MAX_ATTEMPTS", file=COMPOSE, edit=variables("worker", MAX_ATTEMPTS="many")),
    Break(
        "settings",
        "SIGNING_KEY of at least 32",
        file=COMPOSE,
        edit=variables("api", ENVIRONMENT="staging", SIGNING_KEY_FILE=None),
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
    Break("soft-limit", "400 is not less than TIME_LIMIT 330", {"SOFT_TIME_LIMIT": "400"}),
    Break(
        "soft-limit",
        "330 is not less",
        file=TEMPLATE,
        edit=function_variables(None, SOFT_TIME_LIMIT="330"),
    ),
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
    Break("gateway", "answer that waits 30 s", {"EVENT_WINDOW_SECONDS": "30"}),
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
    Break("redis-cluster", "several slots", facts=with_redis(is_cluster=True)),
    Break(
        "redis-memory",
        "maxmemory-policy is allkeys-lru",
        file=COMPOSE,
        edit=command("redis", "noeviction", "allkeys-lru"),
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

COMPOSE_BREAKS = [
    Break(
        "compose-names", "no setting: TIMELIMIT", file=COMPOSE, edit=variables("api", TIMELIMIT="1")
    ),
    Break(
        "compose-required",
        "not set: DATABASE_URL",
        file=COMPOSE,
        edit=variables("worker", DATABASE_URL=None),
    ),
    Break(
        "stop-grace",
        "what follows take 90 s",
        file=COMPOSE,
        edit=service("worker", stop_grace_period="1m"),
    ),
    Break(
        "stop-grace",
        "what follows take 330 s",
        file=COMPOSE,
        edit=variables("worker", SHUTDOWN_GRACE_SECONDS="300"),
    ),
    Break(
        "start-order",
        "does not wait for migrate",
        file=COMPOSE,
        edit=service("worker", depends_on=["migrate", "redis"]),
    ),
    Break("start-order", "health check", file=COMPOSE, edit=service("redis", healthcheck=None)),
    Break("ports", "8000:8000 is open", file=COMPOSE, edit=service("api", ports=["8000:8000"])),
    Break(
        "container-memory",
        "75% of the container's memory",
        file=COMPOSE,
        edit=service("redis", mem_limit="300m"),
    ),
    Break(
        "container-memory", "less than 256 MB", file=COMPOSE, edit=service("api", mem_limit="64m")
    ),
    Break(
        "connections",
        "open up to",
        file=COMPOSE,
        edit=service("worker", deploy={"replicas": 20}),
    ),
]

TEMPLATE_BREAKS = [
    Break(
        "template-names",
        "no setting: REDISURL",
        file=TEMPLATE,
        edit=function_variables(None, REDISURL="x"),
    ),
    Break(
        "template-required",
        "not set: IMAGE_BUCKET",
        file=TEMPLATE,
        edit=function_variables(None, IMAGE_BUCKET=None),
    ),
    Break(
        "template-required",
        "DATABASE_URL, REDIS_URL, SIGNING_KEY",
        file=TEMPLATE,
        edit=function_variables(None, SECRET_ARNS=None),
    ),
    Break(
        "function-timeout",
        "after 300 s",
        file=TEMPLATE,
        edit=resource("WorkerFunction", Timeout=300),
    ),
    Break(
        "queue-visibility",
        "less than 6 times",
        file=TEMPLATE,
        edit=resource("JobQueue", VisibilityTimeout=1979),
    ),
    Break("queue-visibility", "times TIME_LIMIT", facts=with_queue(visibility_seconds=30)),
    Break("queue-batches", "second job", file=TEMPLATE, edit=event_source(BatchSize=None)),
    Break(
        "queue-batches",
        "would be deleted",
        file=TEMPLATE,
        edit=event_source(FunctionResponseTypes=None),
    ),
    Break(
        "queue-batches",
        "no MaximumConcurrency",
        file=TEMPLATE,
        edit=event_source(ScalingConfig=None),
    ),
    Break(
        "queue-batches",
        "less than MaximumConcurrency",
        file=TEMPLATE,
        edit=resource("WorkerFunction", ReservedConcurrentExecutions=3),
    ),
    Break(
        "queue-names",
        "the worker is fed from JobQueue",
        file=TEMPLATE,
        edit=function_variables("ApiFunction", QUEUE_URL={"Ref": "DeadLetterQueue"}),
    ),
    Break("queue-names", "no queue", file=TEMPLATE, edit=resource("WorkerFunction", Events={})),
    Break(
        "dead-letters", "no other queue", file=TEMPLATE, edit=resource("JobQueue", RedrivePolicy={})
    ),
    Break(
        "dead-letters",
        "as many deliveries",
        file=TEMPLATE,
        edit=function_variables(None, MAX_ATTEMPTS="10"),
    ),
    Break(
        "dead-letters",
        "keeps its age",
        file=TEMPLATE,
        edit=resource("DeadLetterQueue", MessageRetentionPeriod=3600),
    ),
    Break(
        "dead-letters",
        "nobody learns",
        file=TEMPLATE,
        edit=resource("DeadLettersAlarm", Dimensions=[]),
    ),
    Break("dead-letters", "as many deliveries", facts=with_queue(max_receives=None)),
    Break(
        "handlers",
        "functions.worker has no run",
        file=TEMPLATE,
        edit=resource("WorkerFunction", Handler="functions.worker.run"),
        facts=lambda facts: replace(facts, handlers=probe_handlers(facts.templates, {})),
    ),
    Break(
        "function-memory",
        "less than 256 MB",
        file=TEMPLATE,
        edit=resource("ReaperFunction", MemorySize=128),
    ),
    Break("migration", "the newest is", file=TEMPLATE, edit=resource("Migration", Revision="0001")),
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
        "missing: 3.12",
        file=".github/workflows/ci.yml",
        edit=lambda document: document["jobs"]["test"]["strategy"]["matrix"].update(
            python=["3.11", "3.13", "3.14"]
        ),
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

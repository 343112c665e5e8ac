"""Rules of `darkroom doctor` on docker-compose.yml and template.yaml, each of them broken."""

from dataclasses import replace

from cli.doctor.gathering import probe_handlers
from tests.support.agreement import (
    COMPOSE,
    TEMPLATE,
    Break,
    event_source,
    function_variables,
    resource,
    service,
    variables,
    with_queue,
)

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
        "stop-grace",
        "open requests and what follows",
        file=COMPOSE,
        edit=service("api", stop_grace_period="1s"),
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
        "waits for no reason",
        file=TEMPLATE,
        edit=event_source(MaximumBatchingWindowInSeconds=5),
    ),
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
        "MaximumConcurrency 1 is not 2 to 1000",
        file=TEMPLATE,
        edit=event_source(ScalingConfig={"MaximumConcurrency": 1}),
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

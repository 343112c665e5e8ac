"""Rules on template.yaml: what the functions are told, and what feeds them."""

from collections.abc import Iterable, Iterator

from cli.doctor.compose_rules import is_known
from cli.doctor.facts import API_HANDLER, REAPER_HANDLER, WORKER_HANDLER, Facts
from cli.doctor.intrinsics import names_in
from cli.doctor.quantities import in_seconds
from cli.doctor.rule import NotChecked, Reading, Rule, judged
from cli.doctor.template_file import (
    FUNCTION_MEMORY_MEGABYTES,
    FUNCTION_TIMEOUT_SECONDS,
    MIGRATE_HANDLER,
    QUEUE_RETENTION_SECONDS,
    QUEUE_VISIBILITY_SECONDS,
    EventSource,
    Resource,
    Template,
)

REQUIRED = ("ENVIRONMENT", "AI_MOCK_MODE", "DATABASE_URL", "REDIS_URL")
REQUIRED_ON_AWS = (*REQUIRED, "SIGNING_KEY", "QUEUE_URL", "IMAGE_BUCKET")

VISIBILITY_FACTOR = 6
"""Times the function's timeout (Lambda guide, "Configuring an Amazon SQS queue as an event
source")."""

CONCURRENCY_LEAST, CONCURRENCY_MOST = 2, 1000
"""The limits of ScalingConfig.MaximumConcurrency (Lambda API Reference, ScalingConfig)."""

PARTIAL = "ReportBatchItemFailures"

MEMORY_LEAST_MEGABYTES = 256
"""A function takes 100 MB when it has imported everything; pictures come on top."""


def _names(facts: Facts) -> Iterable[Reading]:
    for template in facts.get_templates():
        for function in template.functions:
            names = sorted(template.part_of(function).variables)
            unknown = [name for name in names if not is_known(name)]
            yield judged(
                function.where,
                f"{len(names)} names",
                holds=not unknown,
                fault=f"no setting: {', '.join(unknown)}",
            )


def _required(facts: Facts) -> Iterable[Reading]:
    for template in facts.get_templates():
        for function in template.functions:
            part = template.part_of(function)
            wanted: tuple[str, ...] = REQUIRED_ON_AWS
            if part.variables.get("ENVIRONMENT") == "local":
                wanted = REQUIRED
            if function.properties.get("Handler") == MIGRATE_HANDLER:
                wanted = ("DATABASE_URL",)
            missing = [name for name in wanted if not part.gives(name)]
            yield judged(
                part.where,
                ", ".join(name for name in wanted if name not in missing) or "nothing",
                holds=not missing,
                fault=f"not set: {', '.join(missing)}",
            )


def _timeout(facts: Facts) -> Iterable[Reading]:
    for template, function in facts.get_functions(WORKER_HANDLER):
        timeout = function.find_number("Timeout", FUNCTION_TIMEOUT_SECONDS)
        limit = template.part_of(function).find_number("TIME_LIMIT")
        yield judged(
            function.where,
            f"Timeout {_plain(timeout)} = TIME_LIMIT {_plain(limit)}",
            holds=timeout is not None and timeout == limit,
            fault=f"Lambda kills a job after {_plain(timeout)}; its lease ends at {_plain(limit)}",
        )


def _plain(seconds: float | None) -> str:
    return "unknown" if seconds is None else in_seconds(seconds)


def _job_queues(facts: Facts) -> Iterator[tuple[Template, Resource, EventSource, Resource]]:
    """Yield the queues that feed the worker: template, worker, source and queue."""
    for template, worker in facts.get_functions(WORKER_HANDLER):
        for source, queue in template.queues_of(worker):
            yield template, worker, source, queue


def _fed(facts: Facts) -> Iterable[Reading]:
    for template, worker in facts.get_functions(WORKER_HANDLER):
        queues = {queue.name for _, queue in template.queues_of(worker)}
        if not queues:
            yield Reading(worker.where, "no queue", "no queue of this template feeds the worker")
            continue
        for handler in (WORKER_HANDLER, API_HANDLER, REAPER_HANDLER):
            function = template.find_function(handler)
            variables = template.part_of(function).variables if function else {}
            value = variables.get("QUEUE_URL")
            # `sam local` has no queue: an event is handed to the worker.
            if value == "" and variables.get("ENVIRONMENT") == "local":
                continue
            if function is not None and value is not None:
                yield judged(
                    function.where,
                    f"sends to {value}",
                    holds=bool(names_in(value) & queues),
                    fault=f"QUEUE_URL is {value}, the worker is fed from {', '.join(queues)}",
                )


def _visibility(facts: Facts) -> Iterable[Reading]:
    for _, worker, _, queue in _job_queues(facts):
        timeout = worker.find_number("Timeout", FUNCTION_TIMEOUT_SECONDS) or 0.0
        found = queue.find_number("VisibilityTimeout", QUEUE_VISIBILITY_SECONDS) or 0.0
        needed = VISIBILITY_FACTOR * timeout
        yield judged(
            queue.where,
            f"VisibilityTimeout {found:g} >= {needed:g} s",
            holds=found >= needed,
            fault=f"less than {VISIBILITY_FACTOR} times the worker's Timeout of {timeout:g} s: "
            "throttled messages come again while they wait",
        )
    if not isinstance(facts.servers.queue, str):
        found = facts.servers.queue.visibility_seconds
        needed = VISIBILITY_FACTOR * (facts.environment.find_number("TIME_LIMIT") or 0.0)
        yield judged(
            "SQS queue",
            f"{found:g} >= {needed:g} s",
            holds=found >= needed,
            fault=f"less than {VISIBILITY_FACTOR} times TIME_LIMIT",
        )


def _batches(facts: Facts) -> Iterable[Reading]:
    for _, worker, source, _ in _job_queues(facts):
        given = source.properties
        size, window = given.get("BatchSize", 10), given.get("MaximumBatchingWindowInSeconds", 0)
        yield judged(
            worker.where,
            f"BatchSize {size}, window {window} s",
            holds=str(size) == "1" and str(window) == "0",
            fault="a second job of a batch has no time left, or waits for no reason",
        )
        types = given.get("FunctionResponseTypes") or []
        yield judged(
            worker.where,
            f"FunctionResponseTypes {', '.join(map(str, types)) or 'none'}",
            holds=PARTIAL in types,
            fault="what the worker asks to have again would be deleted",
        )
        yield _concurrency(worker, given.get("ScalingConfig") or {})


def _concurrency(worker: Resource, scaling: object) -> Reading:
    most = scaling.get("MaximumConcurrency") if isinstance(scaling, dict) else None
    number = int(str(most)) if str(most).isdecimal() else None
    reserved = worker.find_number("ReservedConcurrentExecutions")
    fault = None
    if most is None:
        fault = "no MaximumConcurrency: throttled messages end among the dead letters"
    elif number is not None and not CONCURRENCY_LEAST <= number <= CONCURRENCY_MOST:
        fault = f"MaximumConcurrency {number} is not {CONCURRENCY_LEAST} to {CONCURRENCY_MOST}"
    elif number is not None and reserved is not None and reserved < number:
        fault = f"ReservedConcurrentExecutions {reserved:g} is less than MaximumConcurrency"
    return Reading(worker.where, f"MaximumConcurrency {most}", fault)


def _dead_letters(facts: Facts) -> Iterable[Reading]:
    for template, worker, _, queue in _job_queues(facts):
        attempts = template.part_of(worker).find_number("MAX_ATTEMPTS") or 0.0
        redrive = queue.properties.get("RedrivePolicy")
        redrive = redrive if isinstance(redrive, dict) else {}
        targets = sorted(names_in(redrive.get("deadLetterTargetArn")))
        dead = next(
            (r for name in targets if (r := template.find(name)) and r.type == queue.type), None
        )
        if dead is None or dead.name == queue.name:
            yield Reading(queue.where, "no redrive", "its RedrivePolicy leads to no other queue")
            continue
        yield from _redrive(queue, dead, redrive.get("maxReceiveCount"), attempts)
        alarms = template.of_type("AWS::CloudWatch::Alarm")
        has_alarm = any(dead.name in names_in(dict(alarm.properties)) for alarm in alarms)
        yield judged(
            dead.where,
            "has an alarm" if has_alarm else "no alarm",
            holds=has_alarm,
            fault="nobody learns of a dead letter",
        )
    if not isinstance(facts.servers.queue, str):
        attempts = facts.environment.find_number("MAX_ATTEMPTS") or 0.0
        yield _deliveries("SQS queue", facts.servers.queue.max_receives, attempts)


def _redrive(
    queue: Resource, dead: Resource, receives: object, attempts: float
) -> Iterator[Reading]:
    yield _deliveries(
        queue.where, int(str(receives)) if str(receives).isdecimal() else None, attempts
    )
    name = "MessageRetentionPeriod"
    kept = dead.find_number(name, QUEUE_RETENTION_SECONDS) or 0.0
    waits = queue.find_number(name, QUEUE_RETENTION_SECONDS) or 0.0
    yield judged(
        dead.where,
        f"keeps {in_seconds(kept)} >= {in_seconds(waits)}",
        holds=kept >= waits,
        fault="a dead letter keeps its age: it may be gone before anybody looks",
    )


def _deliveries(where: str, receives: int | None, attempts: float) -> Reading:
    """Judge maxReceiveCount: each attempt is a delivery, and so is each that came in vain."""
    return judged(
        where,
        f"maxReceiveCount {receives} > {attempts:g}",
        holds=receives is not None and receives > attempts,
        fault=f"{attempts:g} attempts are as many deliveries, and one comes in vain whenever "
        "PostgreSQL is away or Lambda throttles",
    )


def _handlers(facts: Facts) -> Iterable[Reading]:
    facts.get_templates()
    if isinstance(facts.handlers, str):
        raise NotChecked(facts.handlers)
    for path, fault in facts.handlers.items():
        yield Reading("template", path, fault)


def _memory(facts: Facts) -> Iterable[Reading]:
    for template in facts.get_templates():
        for function in template.functions:
            found = function.find_number("MemorySize", FUNCTION_MEMORY_MEGABYTES) or 0.0
            yield judged(
                function.where,
                f"{found:g} MB",
                holds=found >= MEMORY_LEAST_MEGABYTES,
                fault=f"less than {MEMORY_LEAST_MEGABYTES} MB",
            )


TEMPLATE_RULES = (
    Rule(
        "template-names",
        "Every name in the environment of a function is a setting",
        "Correct the name; docs/reference/settings.md lists them.",
        _names,
    ),
    Rule(
        "template-required",
        "Every required setting is there",
        "Set it in Globals, or keep it in a secret that SECRET_ARNS names.",
        _required,
    ),
    Rule(
        "function-timeout",
        "The worker's function ends at the hard limit",
        "Make its Timeout the same as TIME_LIMIT.",
        _timeout,
    ),
    Rule(
        "queue-visibility",
        "The queue hides a message for six times the worker's timeout",
        "Make VisibilityTimeout greater.",
        _visibility,
    ),
    Rule(
        "queue-batches",
        "The worker gets one message at a time, and says which ones it wants again",
        f"Set BatchSize 1, no window, FunctionResponseTypes [{PARTIAL}], MaximumConcurrency.",
        _batches,
    ),
    Rule(
        "queue-names",
        "Functions send to the queue that feeds the worker",
        "Set QUEUE_URL to !Ref of the queue in the worker's event.",
        _fed,
    ),
    Rule(
        "dead-letters",
        "What nobody can handle reaches a dead-letter queue, late enough, and somebody hears of it",
        "Set RedrivePolicy with a maxReceiveCount greater than MAX_ATTEMPTS (10), "
        "MessageRetentionPeriod, and an alarm on the dead letters.",
        _dead_letters,
    ),
    Rule(
        "handlers",
        "Every handler of the template can be imported",
        "Correct Handler, or install the extra `cloud`.",
        _handlers,
    ),
    Rule(
        "function-memory",
        "Functions have memory for what they import",
        "Make MemorySize greater.",
        _memory,
    ),
)

"""template.yaml: what must hold between functions, queues and settings, and each rule broken."""

import copy
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest

from cli.doctor.recovery import REAPER_SECONDS
from shared.api.generation_routes import WAIT_MAX_SECONDS
from shared.errors import ConfigurationError
from shared.jobs.migration import newest_revision
from shared.settings import Settings
from tests.support.deployment_settings import (
    SECRETS,
    accepted,
    differing,
    legible,
    load_from,
    misspelt,
)
from tests.support.template import (
    DATA_TEMPLATE,
    FUNCTIONS,
    Document,
    Stack,
    deployments,
    read_template,
)

STAND_INS = {name.upper(): "stand-in-of-more-than-thirty-two-characters" for name in SECRETS} | {
    "DATABASE_URL": "postgresql://user@localhost/name",
    "DATABASE_PASSWORD": "",
    "REDIS_URL": "redis://localhost/0",
}
"""What the secrets of Secrets Manager hold."""

MEMORY_LEAST_MEGABYTES = 256
"""A function takes 100 MB when it has imported everything; pictures come on top."""

VISIBILITY_FACTOR = 6
"""Times the function's timeout (Lambda guide, "Configuring an Amazon SQS queue as an event
source")."""

GATEWAY_SECONDS = 30
"""The longest integration timeout of an HTTP API (API Gateway Developer Guide, "Quotas for
configuring and running an HTTP API")."""

CACHES = ("AWS::ElastiCache::ServerlessCache", "AWS::MemoryDB::Cluster")
"""These are always in cluster mode."""

Rule = Callable[[Stack], Iterator[str]]


@lru_cache(maxsize=1)
def settings_of(stack: Stack) -> tuple[dict[str, Settings], list[str]]:
    """Return the settings of all functions that read them, and what others refuse."""
    loaded: dict[str, Settings] = {}
    refusals: list[str] = []
    for function in ("Worker", "Api", "Reaper"):
        given = {**stack.variables(function), "AWS_LAMBDA_FUNCTION_NAME": function}
        secrets = STAND_INS if given.get("SECRET_ARNS") else {}
        one, more = accepted({function: given}, secrets)
        loaded.update(one)
        refusals += more
    return loaded, refusals


def settings(stack: Stack) -> Iterator[str]:
    """Every function has what it needs, and all have the same limits."""
    loaded, refusals = settings_of(stack)
    yield from refusals
    yield from differing(loaded)
    for function in FUNCTIONS:
        variables = stack.variables(function)
        is_local = variables["ENVIRONMENT"] == "local"
        yield from misspelt(variables)
        yield from legible(variables, is_local=is_local)
        for name in () if is_local else ("QUEUE_URL", "IMAGE_BUCKET"):
            if not variables.get(name):
                yield f"{function}: {name} is not set"


def limits(stack: Stack) -> Iterator[str]:
    """Lambda kills a function at TIME_LIMIT; a message stays hidden for six times as long."""
    timeout = stack.properties("WorkerFunction").get("Timeout", 3)
    for function, one in settings_of(stack)[0].items():
        if one.time_limit != timeout:
            yield f"{function}: TIME_LIMIT is {one.time_limit:g}, the worker's Timeout {timeout}"
        if one.dispatch_grace_seconds < REAPER_SECONDS:
            yield f"{function}: each sweep would dispatch every waiting job again"
    for name, queue, _ in job_queues(stack):
        if queue.get("VisibilityTimeout", 30) < VISIBILITY_FACTOR * timeout:
            yield f"{name}: VisibilityTimeout is less than 6 times the worker's Timeout"
    for name, properties in stack.of_type("AWS::Lambda::Function").items():
        if properties.get("MemorySize", 128) < MEMORY_LEAST_MEGABYTES:
            yield f"{name}: MemorySize is less than {MEMORY_LEAST_MEGABYTES}"


def job_queues(stack: Stack) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield name and properties of each queue that feeds the worker, and those of its source."""
    queues = stack.of_type("AWS::SQS::Queue")
    for source in stack.of_type("AWS::Lambda::EventSourceMapping").values():
        name = source["EventSourceArn"].removesuffix(".Arn")
        if source["FunctionName"] == "WorkerFunction" and name in queues:
            yield name, queues[name], source


def delivery(stack: Stack) -> Iterator[str]:
    """The worker is given one message at a time, from the queue that all functions send to."""
    fed = {name for name, _, _ in job_queues(stack)}
    if not fed:
        yield "no queue feeds the worker"
    for function in ("Worker", "Api", "Reaper"):
        url = stack.variables(function).get("QUEUE_URL")
        if url and url not in fed:
            yield f"{function}: QUEUE_URL is {url}, the worker is fed from {fed}"
    reserved = stack.properties("WorkerFunction").get("ReservedConcurrentExecutions", 1000)
    for name, _, source in job_queues(stack):
        if source.get("BatchSize", 10) != 1:
            yield f"{name}: a second job of a batch has no time left"
        if source.get("MaximumBatchingWindowInSeconds", 0):
            yield f"{name}: a message waits for others"
        if "ReportBatchItemFailures" not in source.get("FunctionResponseTypes", ()):
            yield f"{name}: what the worker asks to have again would be deleted"
        most = source.get("ScalingConfig", {}).get("MaximumConcurrency")
        if most is None:
            yield f"{name}: no MaximumConcurrency: throttled messages become dead letters"
        # The limits of ScalingConfig (Lambda API Reference).
        elif not 2 <= int(most) <= 1000:
            yield f"{name}: MaximumConcurrency {most} is not 2 to 1000"
        elif reserved < int(most):
            yield f"{name}: ReservedConcurrentExecutions is less than MaximumConcurrency"


def dead_letters(stack: Stack) -> Iterator[str]:
    """What cannot be handled reaches another queue, late enough, and an alarm."""
    alarms = str(stack.of_type("AWS::CloudWatch::Alarm"))
    for name, queue, _ in job_queues(stack):
        redrive = queue.get("RedrivePolicy", {})
        target = redrive.get("deadLetterTargetArn", "").removesuffix(".Arn")
        dead = stack.of_type("AWS::SQS::Queue").get(target)
        if dead is None or target == name:
            yield f"{name}: RedrivePolicy leads to no other queue"
            continue
        for function, one in settings_of(stack)[0].items():
            if redrive["maxReceiveCount"] <= one.max_attempts:
                yield f"{function}: MAX_ATTEMPTS are as many deliveries as maxReceiveCount"
        # Four days where a template says nothing (AWS::SQS::Queue).
        kept, waits = (one.get("MessageRetentionPeriod", 345_600) for one in (dead, queue))
        if kept < waits:
            yield f"{target}: a dead letter keeps its age, and would be gone before it is seen"
        if f"{target}.QueueName" not in alarms:
            yield f"{target}: no alarm"


def schedule(stack: Stack) -> Iterator[str]:
    """The sweep runs each minute, the housekeeping and webhooks apart from it."""
    rates = {
        rule["Targets"][0].get("Input"): rule["ScheduleExpression"]
        for rule in stack.of_type("AWS::Events::Rule").values()
        if "ReaperFunction" in str(rule["Targets"])
    }
    if rates.pop(None, None) != f"rate({REAPER_SECONDS / 60:g} minute)":
        yield "the reaper does not run each minute"
    for work in ("housekeeping", "webhooks"):
        if f'{{"work": "{work}"}}' not in rates:
            yield f"no schedule of {work}"


def gateway(stack: Stack) -> Iterator[str]:
    """An answer that waits comes first, then the function ends, then the gateway gives up."""
    timeout = stack.properties("ApiFunction").get("Timeout", 3)
    body = str(stack.of_type("AWS::ApiGatewayV2::Api"))
    waits = [int(text) / 1000 for text in re.findall(r"'timeoutInMillis': (\d+)", body)]
    for one in settings_of(stack)[0].values():
        if max(one.event_window_seconds, WAIT_MAX_SECONDS) + 2 > timeout:
            yield f"an answer that waits does not come within the Timeout of {timeout} s"
    if not waits or not timeout < min(waits) <= max(waits) <= GATEWAY_SECONDS:
        yield f"the gateway waits {waits} s for a function that ends after {timeout} s"


def migration(stack: Stack) -> Iterator[str]:
    """CloudFormation calls the migration again only where its revision has changed."""
    for one in stack.of_type("Custom::Migration").values():
        if one["Revision"] != newest_revision():
            yield f"Revision is {one['Revision']}, the newest {newest_revision()}"
    variables, secrets = stack.variables("Migrate"), STAND_INS
    try:
        load_from(variables, secrets if variables.get("SECRET_ARNS") else {})
    except ConfigurationError as error:
        yield f"Migrate: {error}"


def cache(stack: Stack) -> Iterator[str]:
    """Redis is one primary that refuses writes when it is full."""
    spread = list(stack.of_type(*CACHES))
    parameters = stack.of_type("AWS::ElastiCache::ParameterGroup")
    for name, group in stack.of_type("AWS::ElastiCache::ReplicationGroup").items():
        if group.get("ClusterMode", "disabled") != "disabled" or group.get("NumNodeGroups", 1) > 1:
            spread.append(name)
        given = parameters.get(group.get("CacheParameterGroupName", ""), {}).get("Properties", {})
        # The default parameters evict.
        policy = given.get("maxmemory-policy", "volatile-lru")
        if policy != "noeviction":
            yield f"{name}: maxmemory-policy is {policy}"
    yield from (f"{name}: the keys of one job lie in several slots" for name in spread)


RULES: tuple[Rule, ...] = (
    settings, limits, delivery, dead_letters, schedule, gateway, migration, cache,
)  # fmt: skip

VARIABLES = "Globals.Function.Environment.Variables"
JOBS = "WorkerFunction.Events.Jobs.Properties"
GATEWAY = "ApiFunction.Events.Everything.Properties"

BREAKS: list[tuple[str, Any, str]] = [
    (f"{VARIABLES}.REDISURL", "x", "no setting: REDISURL"),
    (f"{VARIABLES}.IMAGE_BUCKET", None, "IMAGE_BUCKET is not set"),
    (f"{VARIABLES}.SECRET_ARNS", None, "REDIS_URL is not set"),
    (f"{VARIABLES}.ENVIRONMENT", "", "ENVIRONMENT must be set on AWS Lambda"),
    (f"{VARIABLES}.SOFT_TIME_LIMIT", "3000", "SOFT_TIME_LIMIT must be less than TIME_LIMIT"),
    (f"{VARIABLES}.MAX_ATTEMPTS", "10", "as many deliveries"),
    (f"{VARIABLES}.DISPATCH_GRACE_SECONDS", "59", "dispatch every waiting job again"),
    (
        f"{VARIABLES}.DATABASE_URL",
        {"Fn::Sub": "{{resolve:secretsmanager:${SecretArn}}}"},
        "DATABASE_URL in plain text",
    ),
    (f"{VARIABLES}.SIGNING_KEY", "k" * 32, "SIGNING_KEY in plain text"),
    ("ApiFunction.Environment.Variables.TIME_LIMIT", "331", "TIME_LIMIT differs"),
    ("ReaperFunction.Environment.Variables.LEASE_SECONDS", "20", "LEASE_SECONDS differs"),
    ("WorkerFunction.Timeout", 300, "the worker's Timeout 300"),
    ("ReaperFunction.MemorySize", 128, "MemorySize is less than 256"),
    ("JobQueue.VisibilityTimeout", 60, "less than 6 times"),
    (f"{JOBS}.BatchSize", None, "second job"),
    (f"{JOBS}.MaximumBatchingWindowInSeconds", 5, "waits for others"),
    (f"{JOBS}.FunctionResponseTypes", None, "would be deleted"),
    (f"{JOBS}.ScalingConfig", None, "no MaximumConcurrency"),
    (f"{JOBS}.ScalingConfig.MaximumConcurrency", 1, "1 is not 2 to 1000"),
    ("WorkerFunction.ReservedConcurrentExecutions", 3, "less than MaximumConcurrency"),
    (
        "ApiFunction.Environment.Variables.QUEUE_URL",
        {"Ref": "DeadLetterQueue"},
        "the worker is fed from {'JobQueue'}",
    ),
    ("WorkerFunction.Events", {}, "no queue"),
    ("JobQueue.RedrivePolicy", {}, "no other queue"),
    ("DeadLetterQueue.MessageRetentionPeriod", 3600, "keeps its age"),
    ("DeadLettersAlarm.Dimensions", [], "no alarm"),
    ("ReaperFunction.Events", {}, "does not run each minute"),
    ("ReaperFunction.Events.EachMinute.Properties.Schedule", "rate(5 minutes)", "each minute"),
    ("ReaperFunction.Events.Housekeeping.Properties.Input", "{}", "of housekeeping"),
    ("ReaperFunction.Events.Webhooks.Properties.Input", "{}", "of webhooks"),
    (f"{GATEWAY}.TimeoutInMillis", 10_000, "waits [10.0] s"),
    (f"{GATEWAY}.TimeoutInMillis", 28_000, "waits [28.0] s"),
    (f"{GATEWAY}.TimeoutInMillis", 60_000, "waits [60.0] s"),
    ("ApiFunction.Timeout", 20, "does not come within the Timeout of 20 s"),
    ("ApiFunction.Timeout", 60, "a function that ends after 60 s"),
    ("Migration.Revision", "0001", "the newest"),
    ("Cluster", {"Type": CACHES[0], "Properties": {"Engine": "valkey"}}, "several slots"),
    ("data:Cache.NumNodeGroups", 2, "several slots"),
    ("data:CacheParameters.Properties.maxmemory-policy", "allkeys-lfu", "allkeys-lfu"),
    ("data:Cache.CacheParameterGroupName", None, "volatile-lru"),
]
"""Where a template is changed, to what (None takes it away), and what must then be said."""


def faults(stack: Stack) -> list[str]:
    """Return what is wrong with a deployment."""
    rules = RULES if "WorkerFunction" in stack.of_type("AWS::Lambda::Function") else (cache,)
    return [fault for rule in rules for fault in rule(stack)]


def changed(document: Document, path: str, value: Any) -> Document:
    """Return a template with one thing changed: a resource, a property or a section."""
    document = copy.deepcopy(document)
    first, *rest = path.split(".")
    words = [first, *rest] if first == "Globals" else ["Resources", first]
    if rest and first != "Globals":
        words += ["Properties", *rest]
    section = document
    for word in words[:-1]:
        section = section.setdefault(word, {})
    if value is None:
        del section[words[-1]]
    else:
        section[words[-1]] = value
    return document


@pytest.mark.parametrize("name", deployments())
def test_every_rule_holds(name: str) -> None:
    """In each environment of samconfig.toml."""
    assert faults(Stack(deployments()[name])) == []


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_every_rule_holds_for_the_data_stack(environment: str) -> None:
    """Which is deployed with the other one, or alone."""
    assert faults(Stack({"Environment": environment}, read_template(DATA_TEMPLATE))) == []


@pytest.mark.parametrize(("path", "value", "fault"), BREAKS)
def test_a_broken_rule_is_caught(path: str, value: Any, fault: str) -> None:
    """In words that name what is wrong."""
    is_data, name = path.startswith("data:"), path.removeprefix("data:")
    document = changed(read_template(DATA_TEMPLATE) if is_data else read_template(), name, value)
    given = {"Environment": "staging"} if is_data else deployments()["staging"]
    assert fault in "\n".join(faults(Stack(given, document)))

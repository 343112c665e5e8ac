"""Rules on Celery's effective options."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.doctor.rule import Facts, NotChecked, Observation, known, rule
from cli.doctor.setting_rules import longest_hold_seconds
from shared.adapters.celery_broker import TASK_NAME, queue_names

BLOCKING_READ_SECONDS = 1.0
"""How long kombu waits in Redis for a message (kombu/transport/redis.py, `brpop_timeout`)."""

WANTED = {
    "task_acks_late": (True, "a job of a dead worker would not be delivered again"),
    "task_reject_on_worker_lost": (False, "what kills its worker would be delivered without end"),
    "task_acks_on_failure_or_timeout": (True, "what reached the limit would come without end"),
    "task_ignore_result": (True, "Celery would write over the records of the event script"),
    "task_create_missing_queues": (False, "a wrong name would make a queue that no worker reads"),
    "worker_prefetch_multiplier": (1, "short jobs would wait behind a long one"),
    "worker_cancel_long_running_tasks_on_connection_loss": (
        False,
        "losing the broker would throw away paid provider calls",
    ),
    "broker_connection_max_retries": (None, "a long outage of Redis would end the worker"),
    "broker_channel_error_retry": (True, "a Redis that is full or read-only would end the worker"),
    "broker_connection_retry_on_startup": (True, "a worker would not wait for Redis"),
    "accept_content": (["json"], "a message could run code"),
}

TRANSPORTS = ("broker_transport_options", "result_backend_transport_options")


@rule(mend="Install celery>=5.6.3,<5.7 (requirements.lock).")
def celery_version(facts: Facts) -> Iterable[Observation]:
    """Celery is a release that survives a restart of Redis."""
    if "celery" not in facts.versions:
        raise NotChecked("Celery is not installed")
    version = facts.versions["celery"]
    numbers = tuple(int(word) for word in version.split(".")[:3] if word.isdecimal())
    yield (
        f"celery {version}",
        (5, 6, 3) <= numbers < (5, 7),
        "5.7.0 ends when Redis restarts under a job, 5.6.2 never consumes again",
    )


@rule(mend="Take them from the settings in local/celery_app.py and local/worker/tasks.py.")
def celery_limits(facts: Facts) -> Iterable[Observation]:
    """Celery has the limits of the settings, and retries no job that reached them."""
    options = known(facts.celery)
    for name in ("soft_time_limit", "time_limit"):
        found, wanted = options[f"task_{name}"], getattr(facts.settings, name)
        yield f"task_{name} {found}", found == wanted, f"{name.upper()} is {wanted:g}"
    never = options["never_retried"]
    yield (
        f"never retried: {', '.join(never) or 'nothing'}",
        "SoftTimeLimitExceeded" in never,
        "a job that reached the soft limit would be paid for again",
    )


@rule(mend="Set the option in local/celery_app.py.")
def celery_acknowledgement(facts: Facts) -> Iterable[Observation]:
    """Celery acknowledges, retries and prefetches as the sweep expects."""
    for option, (wanted, consequence) in WANTED.items():
        found = known(facts.celery)[option]
        fault = f"{option} is {found}, not {wanted}: {consequence}"
        yield f"{option} {found}", found == wanted, fault


@rule(mend="Set broker_transport_options in local/celery_app.py.")
def celery_connection(facts: Facts) -> Iterable[Observation]:
    """Celery notices a Redis that is frozen or gone."""
    options = known(facts.celery)["broker_transport_options"]
    timeout = options.get("socket_timeout")
    yield (
        f"socket_timeout {timeout}",
        timeout is not None and timeout > BLOCKING_READ_SECONDS,
        f"a frozen Redis hangs a worker; kombu itself waits {BLOCKING_READ_SECONDS:g} s",
    )
    for name in ("socket_connect_timeout", "socket_keepalive", "health_check_interval"):
        found = options.get(name)
        yield f"{name} {found}", bool(found), f"{name} is not set: a lost peer would go unnoticed"


@rule(mend="Make TIME_LIMIT or RETRY_BACKOFF_MAX less; all visibility timeouts must be the same.")
def broker_visibility(facts: Facts) -> Iterable[Observation]:
    """The broker hides a message for longer than a job holds it."""
    options = known(facts.celery)
    found = {name: options[name].get("visibility_timeout") for name in TRANSPORTS}
    found["visibility_timeout"] = options["visibility_timeout"]
    shortest = min(float(seconds or 0) for seconds in found.values())
    yield (
        f"visibility timeout {shortest:g} s in {len(found)} places",
        len(set(found.values())) == 1,
        f"the shortest one counts: {found}",
    )
    hold = longest_hold_seconds(known(facts.settings))
    yield (
        f"{shortest:g} > {hold:g} s",
        shortest > hold,
        f"a message held for {hold:g} s (TIME_LIMIT and the longest wait) comes again after "
        f"{shortest:g} s while the first is at work",
    )


@rule(mend="Take them from shared/adapters/celery_broker.py.")
def queues(facts: Facts) -> Iterable[Observation]:
    """Workers consume the queues that producers know."""
    options, names = known(facts.celery), queue_names(known(facts.settings).queue_prefix)
    yield (
        f"queues {', '.join(options['queues'])}; task {options['task']}",
        options["queues"] == list(names) and options["task"] == TASK_NAME,
        f"producers know {TASK_NAME} and {', '.join(names)}",
    )


@rule(mend="Take global_keyprefix from REDIS_PREFIX in local/celery_app.py.")
def key_prefix(facts: Facts) -> Iterable[Observation]:
    """Celery's keys have the prefix of all others."""
    wanted = known(facts.settings).redis_prefix
    for name in TRANSPORTS:
        prefix = known(facts.celery)[name].get("global_keyprefix", "")
        yield (
            f"{name}: {f'prefix {prefix!r}' if prefix else 'no prefix'}",
            prefix == wanted,
            f"global_keyprefix {prefix!r} is not REDIS_PREFIX {wanted!r}: programs miss each other",
        )


def effective_celery_options() -> Mapping[str, Any]:
    """Return how the Celery application is configured, with its queues and the job's task."""
    # It reads the settings when it is imported.
    from local.celery_app import celery_app

    celery_app.loader.import_default_modules()
    task = celery_app.tasks.get(TASK_NAME)
    names = (*WANTED, *TRANSPORTS, "visibility_timeout", "task_soft_time_limit", "task_time_limit")
    return {
        **{name: celery_app.conf[name] for name in names},
        "queues": [queue.name for queue in celery_app.conf.task_queues],
        "task": getattr(task, "name", None),
        "never_retried": [error.__name__ for error in getattr(task, "dont_autoretry_for", ())],
    }

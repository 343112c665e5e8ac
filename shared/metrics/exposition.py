"""The text that Prometheus reads, and the names that dashboards of Celery know.

[Prometheus documentation, "Exposition formats", text-based format 0.0.4]
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from shared.metrics.store import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SUFFIXES = ("_bucket", "_count", "_sum")
_STATES = {"completed": "SUCCESS", "failed": "FAILURE", "lost": "LOST"}
_CELERY_TIMES = {
    "darkroom_attempt_seconds": "celery_task_runtime_seconds",
    "darkroom_job_queue_seconds": "celery_task_queuetime_seconds",
}


class Family(NamedTuple):
    """What is said of all samples of a name."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str


FAMILIES = {
    "darkroom_jobs_total": Family("counter", "Jobs that ended."),
    "darkroom_job_queue_seconds": Family(
        "histogram", "Time from acceptance to the first attempt, of jobs that ended."
    ),
    "darkroom_attempts_total": Family("counter", "Attempts of jobs that ended."),
    "darkroom_attempt_seconds": Family("histogram", "Length of attempts, of jobs that ended."),
    "darkroom_provider_calls_total": Family(
        "counter", "Attempts by what is known of their bill, of jobs that ended."
    ),
    "darkroom_cost_microdollars_total": Family("counter", "Charged by providers."),
    "darkroom_jobs_open": Family("gauge", "Jobs that have not ended."),
    "darkroom_oldest_pending_seconds": Family(
        "gauge", "How long the oldest job has waited that may start: neither delayed nor paused."
    ),
    "darkroom_workers": Family("gauge", "Workers that have announced slots."),
    "darkroom_worker_slots": Family("gauge", "Jobs that may run at once."),
    "darkroom_webhooks": Family("gauge", "Webhooks by what becomes of their deliveries."),
    "darkroom_webhook_deliveries_waiting": Family("gauge", "Deliveries of webhooks that wait."),
    "darkroom_webhook_oldest_waiting_seconds": Family(
        "gauge", "Age of the oldest delivery of a webhook that waits."
    ),
    "darkroom_event_streams": Family("gauge", "Event streams that are open in this process."),
    "celery_tasks_total": Family("counter", "Attempts that Celery ran, of jobs that ended."),
    "celery_task_runtime_seconds": Family("histogram", "Length of attempts that Celery ran."),
    "celery_task_queuetime_seconds": Family("histogram", "Time until Celery began a job."),
    "celery_queue_length": Family("gauge", "Messages in a queue of Celery."),
}


def render(samples: Sequence[Sample], celery_task: str | None = None) -> str:
    """Return the text of samples, each family by itself.

    Args:
        samples: In any order.
        celery_task: The name of the task, to add what Celery ran under the usual names.
    """
    more = [] if celery_task is None else _as_celery(samples, celery_task)
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in (*samples, *more):
        families[_family_of(sample.name)].append(sample)
    return "".join(f"{line}\n" for line in _lines(families.items()))


def _lines(families: Iterable[tuple[str, list[Sample]]]) -> Iterator[str]:
    for name, samples in sorted(families):
        # Totals may have been counted by a later version.
        if name not in FAMILIES:
            continue
        yield f"# HELP {name} {FAMILIES[name].help}"
        yield f"# TYPE {name} {FAMILIES[name].kind}"
        for sample in samples:
            labels = ",".join(
                f'{label}="{_escape(value)}"' for label, value in sample.labels.items()
            )
            yield f"{sample.name}{{{labels}}} {sample.value!r}"


def _family_of(name: str) -> str:
    for suffix in _SUFFIXES:
        family = name.removesuffix(suffix)
        if family != name and family in FAMILIES:
            return family
    return name


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _as_celery(samples: Iterable[Sample], task: str) -> list[Sample]:
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for name, labels, value in samples:
        family = _family_of(name)
        kept = {"name": task}
        if labels.get("runtime") != "celery":
            continue
        if family == "darkroom_attempts_total":
            family, kept["state"] = "celery_tasks_total", _STATES[labels["outcome"]]
        elif family in _CELERY_TIMES:
            # The bound of a bucket; all providers together.
            kept |= {"le": labels["le"]} if "le" in labels else {}
            family = _CELERY_TIMES[family] + name.removeprefix(family)
        else:
            continue
        sums[family, tuple(kept.items())] += value
    return [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]

"""How long a job waits, at worst, until it is dispatched again or has ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.settings import Settings

HANDED_BACK_SECONDS = 5.0
"""A Celery parent sees its child's end within 4 s and hands the row back at once."""

REAPER_SECONDS = 60.0
"""The schedule of the reaper in template.yaml, the shortest that EventBridge has."""


@dataclass(frozen=True, slots=True)
class RecoveryTime:
    """The worst case of one accident.

    Attributes:
        why: What it is made of.
    """

    runtime: str
    accident: str
    seconds: float
    why: str


def recovery_times(settings: Settings) -> Iterator[RecoveryTime]:
    """Yield the worst cases of each runtime.

    The broker's own visibility timeout plays no part: the row is the queue, the sweep finds it.
    """
    parent = f"the parent sees it within {HANDED_BACK_SECONDS:g} s"
    limit = f"TIME_LIMIT {settings.time_limit:g}"
    yield RecoveryTime("celery", "child killed", HANDED_BACK_SECONDS, parent)
    seconds = settings.time_limit + HANDED_BACK_SECONDS
    yield RecoveryTime("celery", "hard limit", seconds, f"{limit} + {parent}")
    sweep, reaper = settings.sweep_seconds, f"the reaper's schedule {REAPER_SECONDS:g}"
    yield RecoveryTime(
        "lambda", "hard limit", settings.time_limit + REAPER_SECONDS, f"{limit} + {reaper}"
    )
    for accident, name, wait in (
        ("worker or machine lost", "LEASE_SECONDS", settings.lease_seconds),
        ("envelope lost", "DISPATCH_GRACE_SECONDS", settings.dispatch_grace_seconds),
    ):
        why = f"{name} {wait:g} + "
        yield RecoveryTime("celery", accident, wait + sweep, f"{why}SWEEP_SECONDS {sweep:g}")
        yield RecoveryTime("lambda", accident, wait + REAPER_SECONDS, f"{why}{reaper}")

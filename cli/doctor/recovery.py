"""How long a job waits, at worst, until it is dispatched again or has ended."""

from collections.abc import Iterator
from typing import NamedTuple

from shared.settings import Settings

HANDED_BACK_SECONDS = 5.0
"""A Celery parent sees its child's end within 4 s and hands the row back at once."""

REAPER_SECONDS = 60.0
"""The schedule of the reaper in template.yaml, the shortest that EventBridge has."""


class RecoveryTime(NamedTuple):
    """The worst case of one accident, and what it is made of."""

    runtime: str
    accident: str
    seconds: float
    why: str


def recovery_times(settings: Settings) -> Iterator[RecoveryTime]:
    """Yield the worst cases of each runtime.

    The broker's own visibility timeout plays no part: the row is the queue, the sweep finds it.
    """
    parent = HANDED_BACK_SECONDS, f"the parent sees it within {HANDED_BACK_SECONDS:g} s"
    sweep = settings.sweep_seconds, f"SWEEP_SECONDS {settings.sweep_seconds:g}"
    reaper = REAPER_SECONDS, f"the reaper's schedule {REAPER_SECONDS:g}"
    yield RecoveryTime("celery", "child killed", *parent)
    for accident, name, noticed in (
        ("hard limit", "time_limit", parent),
        ("worker or machine lost", "lease_seconds", sweep),
        ("envelope lost", "dispatch_grace_seconds", sweep),
    ):
        wait = getattr(settings, name)
        for runtime, (seconds, why) in (("celery", noticed), ("lambda", reaper)):
            reason = f"{name.upper()} {wait:g} + {why}"
            yield RecoveryTime(runtime, accident, wait + seconds, reason)

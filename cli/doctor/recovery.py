"""How long a job waits, at worst, until somebody goes on with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from cli.doctor.facts import Facts
from cli.doctor.parts import Part
from cli.doctor.setting_rules import sweep_periods

HANDED_BACK_SECONDS = 5.0
"""A Celery parent sees its child's end within 4 s and hands the row back at once."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """The worst case of one accident.

    Attributes:
        runtime: Where, as the report calls it.
        accident: What happened.
        seconds: Until the job is dispatched again, or has ended.
        why: What it is made of.
    """

    runtime: str
    accident: str
    seconds: float
    why: str


def recovery_times(facts: Facts) -> list[Recovery]:
    """Return the worst cases of each runtime, for every part that sweeps."""
    times: list[Recovery] = []
    for part, source, period in sweep_periods(facts):
        is_lambda = "AWS_LAMBDA_FUNCTION_NAME" in part.variables
        if is_lambda or part is facts.environment or part.where == "compose worker":
            times += _cases(part, source, period, is_lambda=is_lambda)
        if part is facts.environment and not is_lambda:
            # The local Lambda host runs the reaper as often as a worker sweeps.
            times += _cases(part, source, period, is_lambda=True)
    return times


def _cases(part: Part, source: str, period: float, *, is_lambda: bool) -> Iterator[Recovery]:
    known = part.numbers("LEASE_SECONDS", "TIME_LIMIT", "DISPATCH_GRACE_SECONDS")
    if known is None:
        return
    lease, limit, grace = known
    runtime = f"{'lambda' if is_lambda else 'celery'} ({part.where})"
    sweep = f"{source} {period:g}" if source.isupper() else f"{source}: {period:g}"
    if not is_lambda:
        yield Recovery(
            runtime,
            "child killed",
            HANDED_BACK_SECONDS,
            "the parent sees it and hands the row back; the sweep is the net below it",
        )
    yield Recovery(
        runtime,
        "sandbox killed" if is_lambda else "worker or machine lost",
        lease + period,
        f"LEASE_SECONDS {lease:g} + {sweep}; the broker's visibility timeout plays no part",
    )
    yield Recovery(
        runtime,
        "hard limit",
        limit + (period if is_lambda else HANDED_BACK_SECONDS),
        f"counted from the start: TIME_LIMIT {limit:g} + "
        + (sweep if is_lambda else "the parent ends the job when it kills the child"),
    )
    yield Recovery(
        runtime,
        "envelope lost",
        grace + period,
        f"DISPATCH_GRACE_SECONDS {grace:g} + {sweep}; the first time: the grace doubles",
    )

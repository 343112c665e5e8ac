"""What a rule is, and what comes of holding facts against it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.doctor.facts import Facts


class Verdict(StrEnum):
    """What is known of a rule."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that a rule looked at.

    Attributes:
        where: The file, service, function or server that it was found in.
        found: The value, as a person reads it.
        fault: What is wrong with it; None if nothing is.
    """

    where: str
    found: str
    fault: str | None = None


class NotChecked(Exception):
    """Why a rule cannot be held against these facts; raised by its check."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that must hold.

    Attributes:
        name: Short and stable, as `soft-limit`.
        title: The rule as a sentence.
        mend: What to do when it is broken.
        check: Yields what it looks at; pure. Raises NotChecked if there is nothing to look at.
    """

    name: str
    title: str
    mend: str
    check: Callable[["Facts"], Iterable[Reading]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule and what was found.

    Attributes:
        reason: Why it was not checked; None if it was.
    """

    rule: Rule
    readings: tuple[Reading, ...]
    reason: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the rule holds."""
        if self.faults:
            return Verdict.BROKEN
        return Verdict.HOLDS if self.readings else Verdict.NOT_CHECKED

    @property
    def faults(self) -> tuple[Reading, ...]:
        """The readings that are wrong."""
        return tuple(reading for reading in self.readings if reading.fault is not None)


def examine(rules: Sequence[Rule], facts: "Facts") -> list[Finding]:
    """Hold the facts against each rule."""
    return [_examine(rule, facts) for rule in rules]


def _examine(rule: Rule, facts: "Facts") -> Finding:
    try:
        readings = tuple(rule.check(facts))
    except NotChecked as reason:
        return Finding(rule, (), str(reason))
    return Finding(rule, readings, None if readings else "nothing here that it speaks of")


def judged(where: str, found: str, *, holds: bool, fault: str) -> Reading:
    """Return a reading that is wrong, for this reason, unless it holds."""
    return Reading(where, found, None if holds else fault)

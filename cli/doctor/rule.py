"""What a rule is, what it looks at, and what it finds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cli.doctor.servers import PostgresFacts, QueueFacts, RedisFacts
from shared.settings import Settings

REFUSED = "the settings are refused"

T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """What is known. A text stands for a fact that is not known, and says why.

    Attributes:
        settings: The settings of this environment.
        celery: Celery's effective options, its queues and the task of a job.
        versions: The running versions of Darkroom, Python and the packages that matter, and the
            revision of the schema that this code needs.
        open_files: How many an API may have that runs as this process does.
    """

    settings: Settings | str
    celery: Mapping[str, Any] | str = REFUSED
    postgres: PostgresFacts | str = REFUSED
    redis: RedisFacts | str = REFUSED
    queue: QueueFacts | str = REFUSED
    versions: Mapping[str, str] = field(default_factory=dict)
    open_files: int = 0


Observation = tuple[str, bool, str]
"""A value as a person reads it, whether it may be so, and what is wrong if it may not."""

Check = Callable[[Facts], Iterable[Observation]]


class NotChecked(Exception):
    """Why a rule cannot be checked; raised by its check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found, as the JSON of the report has it.

    Attributes:
        found: The values that it looked at.
        faults: What is wrong with them.
        mend: What to do; None unless it is broken.
        not_checked: Why it looked at nothing; None if it did.
    """

    name: str
    title: str
    state: Literal["holds", "broken", "not checked"]
    found: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    mend: str | None = None
    not_checked: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that must hold.

    Attributes:
        name: Short and stable, as `lease`.
        title: The rule as a sentence.
        mend: What to do when it is broken.
        check: Yields what it looks at; pure. Raises NotChecked if there is nothing to look at.
    """

    name: str
    title: str
    mend: str
    check: Check

    def examine(self, facts: Facts) -> Finding:
        """Check the rule."""
        try:
            observations = tuple(self.check(facts))
        except NotChecked as reason:
            return Finding(self.name, self.title, "not checked", not_checked=str(reason))
        found = tuple(value for value, _, _ in observations)
        faults = tuple(fault for _, is_right, fault in observations if not is_right)
        if faults:
            return Finding(self.name, self.title, "broken", found, faults, self.mend)
        return Finding(self.name, self.title, "holds", found)


def rule(*, mend: str) -> Callable[[Check], Rule]:
    """Make a rule of a function: its name names the rule, its docstring is the title."""

    def make(check: Check) -> Rule:
        title = (check.__doc__ or "").removesuffix(".")
        return Rule(check.__name__.replace("_", "-"), title, mend, check)

    return make


def known(fact: T | str) -> T:
    """Return a fact.

    Raises:
        NotChecked: It is not known; holds the reason.
    """
    if isinstance(fact, str):
        raise NotChecked(fact)
    return fact

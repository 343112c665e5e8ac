"""What a rule is, and what comes of checking it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from cli.doctor.facts import Facts

Observation = tuple[str, bool, str]
"""A value as a person reads it, whether it may be so, and what is wrong if it may not."""

Check = Callable[["Facts"], Iterable[Observation]]

T = TypeVar("T")


class NotChecked(Exception):
    """Why a rule cannot be checked; raised by its check."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        found: The values that it looked at.
        faults: What is wrong with them.
        not_checked: Why it looked at nothing; None if it did.
    """

    rule: "Rule"
    found: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    not_checked: str | None = None

    @property
    def state(self) -> Literal["holds", "broken", "not checked"]:
        """Whether the rule holds."""
        if self.not_checked is not None:
            return "not checked"
        return "broken" if self.faults else "holds"


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

    def examine(self, facts: "Facts") -> Finding:
        """Check the rule."""
        try:
            observations = tuple(self.check(facts))
        except NotChecked as reason:
            return Finding(self, not_checked=str(reason))
        return Finding(
            self,
            tuple(found for found, _, _ in observations),
            tuple(fault for _, is_right, fault in observations if not is_right),
        )


def rule(name: str, title: str, *, mend: str) -> Callable[[Check], Rule]:
    """Make a rule of a function."""
    return lambda check: Rule(name, title, mend, check)


def known(fact: T | str) -> T:
    """Return a fact.

    Raises:
        NotChecked: It is not known; holds the reason.
    """
    if isinstance(fact, str):
        raise NotChecked(fact)
    return fact

"""Comparing what two runtimes made of one scenario. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from devkit.parity.history import History, Story, normalise
from devkit.parity.scenarios import Expected, Scenario
from shared.status import JobStatus


@dataclass(frozen=True, slots=True)
class Difference:
    """Lines of one kind of record that are not the same.

    Attributes:
        lines: By runtime, those that stand where the other has its own; may be none.
    """

    kind: str
    lines: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario on both runtimes.

    Attributes:
        histories: By runtime.
        deviations: By runtime, how its history is not as the scenario says.
    """

    scenario: Scenario
    histories: Mapping[str, History]
    differences: Sequence[Difference]
    deviations: Mapping[str, Sequence[str]]

    @property
    def is_good(self) -> bool:
        """Whether nothing differs and everything ended as it must."""
        return not self.differences and not any(self.deviations.values())


def compare(scenario: Scenario, histories: Mapping[str, History]) -> Comparison:
    """Compare the histories of two runtimes with each other and with what must be."""
    left, right = histories
    return Comparison(
        scenario,
        histories,
        find_differences({name: normalise(histories[name]) for name in (left, right)}),
        {name: find_deviations(scenario.expected, histories[name]) for name in (left, right)},
    )


def find_differences(stories: Mapping[str, Story]) -> list[Difference]:
    """Return where two stories part, kind by kind."""
    (left_name, left), (right_name, right) = stories.items()
    differences = []
    for kind in left:
        matcher = SequenceMatcher(None, left[kind], right[kind], autojunk=False)
        for tag, start, end, other_start, other_end in matcher.get_opcodes():
            if tag != "equal":
                lines = {
                    left_name: left[kind][start:end],
                    right_name: right[kind][other_start:other_end],
                }
                differences.append(Difference(kind, lines))
    return differences


def find_deviations(expected: Expected, history: History) -> list[str]:
    """Return one line for everything that did not end as it must."""
    job = history.job
    found: dict[str, Any] = {
        "status": job["status"],
        "error code": (job["error"] or {}).get("code"),
        "attempts": len(history.attempts),
        "images": len(history.images),
        "missing images": (job["result"] or {}).get("missing", 0),
        "images whose bytes are theirs": sum(
            row["sha256"] == digest
            for row, digest in zip(history.images, history.digests, strict=True)
        ),
        "last messages": sum(_is_last(message) for message in history.messages),
        "keys without TTL": [key for key, has_ttl in history.expiring.items() if not has_ttl],
    }
    wanted: dict[str, Any] = {
        "status": expected.status.name,
        "error code": expected.code,
        "attempts": expected.attempts,
        "images": expected.images,
        "missing images": expected.missing,
        "images whose bytes are theirs": expected.images,
        "last messages": 1,
        "keys without TTL": [],
    }
    return [
        f"{what} must be {wanted[what]}, not {found[what]}"
        for what in wanted
        if wanted[what] != found[what]
    ]


def _is_last(message: bytes) -> bool:
    ends = (JobStatus.COMPLETED, JobStatus.FAILED)
    return any(message.startswith(f'{{"status": "{end.value}"'.encode()) for end in ends)

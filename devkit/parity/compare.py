"""Comparing what two runtimes made of one scenario. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from itertools import groupby
from typing import Any

from devkit.parity.history import History, Row
from devkit.parity.scenarios import Expected, Scenario
from devkit.runtimes import RUNTIMES
from shared.status import JobStatus

COLUMNS = ("scenario", "messages", "end", *RUNTIMES, "equal")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")

# When and how often an envelope is sent depends on who comes first, and it names the runtime.
_QUEUE_COLUMNS = ("dispatched_at", "dispatches", "released_to", "envelope_id")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario on both runtimes.

    Attributes:
        histories: By runtime.
        faults: Lines that say what did not end as the scenario says, and what differs.
    """

    scenario: Scenario
    histories: Mapping[str, History]
    faults: Sequence[str]

    @property
    def row(self) -> tuple[str, ...]:
        """Its row in the table of COLUMNS."""
        first = self.histories[RUNTIMES[0]]
        return (
            self.scenario.title,
            _sequence(first),
            _end(first),
            *(_counts(self.histories[runtime]) for runtime in RUNTIMES),
            "no" if self.faults else "yes",
        )


def compare(scenario: Scenario, histories: Mapping[str, History]) -> Comparison:
    """Compare the histories of two runtimes with each other and with what must be."""
    faults = [
        f"{name}: {deviation}"
        for name, history in histories.items()
        for deviation in find_deviations(scenario.expected, history)
    ]
    return Comparison(scenario, histories, [*faults, *find_differences(histories)])


def find_differences(histories: Mapping[str, History]) -> Iterator[str]:
    """Yield the lines of a unified diff for each kind of record that differs."""
    (left, left_story), (right, right_story) = (
        (name, normalise(history)) for name, history in histories.items()
    )
    for kind, lines in left_story.items():
        names = f"{kind}, {left}", f"{kind}, {right}"
        yield from unified_diff(lines, right_story[kind], *names, lineterm="", n=0)


def find_deviations(expected: Expected, history: History) -> list[str]:
    """Return one line for everything that did not end as it must."""
    job = history.job
    hashes = zip(history.images, history.digests, strict=True)
    ends = [f'{{"status": "{end.value}"'.encode() for end in JobStatus if end.is_terminal]
    table: tuple[tuple[str, Any, Any], ...] = (
        ("status", expected.status.name, job["status"]),
        ("error code", expected.code, (job["error"] or {}).get("code")),
        ("attempts", expected.attempts, len(history.attempts)),
        ("images", expected.images, len(history.images)),
        ("missing images", expected.missing, (job["result"] or {}).get("missing", 0)),
        ("right image bytes", expected.images, sum(row["sha256"] == sha for row, sha in hashes)),
        ("last messages", 1, sum(message.startswith(tuple(ends)) for message in history.messages)),
        ("others ahead", _allowed(expected.ahead, history.ahead), history.ahead),
        ("keys without TTL", [], [key for key, has_ttl in history.expiring.items() if not has_ttl]),
    )
    return [f"{what} must be {must}, not {found}" for what, must, found in table if must != found]


def _allowed(at_most: int | None, found: int) -> int:
    return found if at_most is None else min(at_most, found)


def normalise(history: History) -> dict[str, list[str]]:
    """Return the history as lines by kind of record, without what differs by nature.

    Ids get names. Times become their rank among all times of the job, so that a missing time,
    or two in another order, still show. The runtime's name in the ledger becomes `<runtime>`,
    a process that holds a lease `<owner>`, and what the row says of its envelope `<queue>`.
    """
    names = {str(history.job["id"]): "<job>", str(history.job["task_id"]): "<task>"}
    names |= {str(row["id"]): f"<image {row['position']}>" for row in history.images}
    job = history.job
    pictures = (job.get("source_asset_id"), *(job.get("reference_asset_ids") or ()))
    assets = filter(None, (*pictures, job.get("mask_asset_id")))
    names |= {str(asset_id): f"<asset {number}>" for number, asset_id in enumerate(assets)}
    story = _lines_by_kind(history)
    for kind, lines in story.items():
        for found, name in names.items():
            lines = [line.replace(found, name) for line in lines]
        story[kind] = lines
    times = {found for lines in story.values() for line in lines for found in _TIME.findall(line)}
    moments = sorted({datetime.fromisoformat(found) for found in times})
    ranks = {found: moments.index(datetime.fromisoformat(found)) + 1 for found in times}
    return {
        kind: [_TIME.sub(lambda match: f"<time {ranks[match[0]]}>", line) for line in lines]
        for kind, lines in story.items()
    }


def _lines_by_kind(history: History) -> dict[str, list[str]]:
    owner = "<owner>" if history.job.get("lease_owner") else None
    job = {**history.job, "lease_owner": owner, **dict.fromkeys(_QUEUE_COLUMNS, "<queue>")}
    attempts = [
        {**row, "runtime": "<runtime>" if row["runtime"] in RUNTIMES else row["runtime"]}
        for row in history.attempts
    ]
    kept = [] if history.result is None else [history.result]
    texts = {
        "messages": history.messages,
        "stream": history.stream,
        "published results": history.results,
        "kept result": kept,
    }
    return {
        **{kind: [text.decode() for text in lines] for kind, lines in texts.items()},
        "keys": [f"{key} expires: {has_ttl}" for key, has_ttl in sorted(history.expiring.items())],
        "job": _lines_of(job),
        "attempts": [line for row in attempts for line in _lines_of(row)],
        "images": [line for row in history.images for line in _lines_of(row)],
        "image bytes": list(history.digests),
        "order of attempts": list(history.order),
    }


def _lines_of(row: Row) -> list[str]:
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False, sort_keys=True)}"
        for name, value in sorted(row.items())
    ]


def _sequence(history: History) -> str:
    """Return the messages in short: each status with the progress it went through."""
    steps = [json.loads(message) for message in history.messages]
    groups = groupby(steps, key=lambda step: step["status"])
    return ", ".join(
        " ".join([status, *(str(step["progress"]) for step in group)]) for status, group in groups
    )


def _end(history: History) -> str:
    if history.job["error"]:
        return str(history.job["error"]["code"])
    missing = (history.job["result"] or {}).get("missing", 0)
    return f"{len(history.images)} saved" + (f", {missing} missing" if missing else "")


def _counts(history: History) -> str:
    attempts, messages = len(history.attempts), len(history.messages)
    return f"{attempts} attempt{'' if attempts == 1 else 's'}, {messages} messages"

"""What can be seen of one job from outside, and its story: the history without what must differ.

Histories are read by `devkit.parity.recorder`, and compared as stories by `devkit.parity.compare`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devkit.runtimes import RUNTIMES

Row = Mapping[str, Any]
Story = Mapping[str, Sequence[str]]
"""Lines by kind of record, each kind in the order in which it was seen."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class History:
    """All that PostgreSQL, Redis and the image store show of one job.

    Attributes:
        messages: What came on its channel, byte for byte.
        stream: The entries of its stream.
        results: The result records as they were published, oldest first.
        result: The result record that is kept; None if there is none.
        expiring: The keys of Redis that bear the task id, each with whether it has a TTL.
        job: The row of `generation_jobs`, all columns.
        attempts: The rows of `generation_attempts`, by number.
        images: The rows of `images`, by position.
        digests: SHA-256 of the bytes that the image store returns, by position.
    """

    messages: Sequence[bytes]
    stream: Sequence[bytes]
    results: Sequence[bytes]
    result: bytes | None
    expiring: Mapping[str, bool]
    job: Row
    attempts: Sequence[Row]
    images: Sequence[Row]
    digests: Sequence[str]


_QUEUE_COLUMNS = ("dispatched_at", "dispatches", "released_to", "envelope_id")


def normalise(history: History) -> Story:
    """Return the story: only what differs between any two runs by nature is replaced.

    Ids get names. Times become their rank among all times of the job, so that a missing time,
    or two in another order, still show. The runtime's name in the ledger becomes `<runtime>`,
    a process that holds a lease `<owner>`, and what the row says of its envelope `<queue>`.
    """
    names = _names_of(history)
    lines = {kind: [_rename(line, names) for line in text] for kind, text in _tell(history).items()}
    ranks = _rank_times(line for text in lines.values() for line in text)
    return {
        kind: [_TIME.sub(lambda match: ranks[_parse_time(match.group())], line) for line in text]
        for kind, text in lines.items()
    }


def _tell(history: History) -> dict[str, list[str]]:
    """Return every record as text."""
    attempts = [_mask(row, "runtime", RUNTIMES, "<runtime>") for row in history.attempts]
    owner = history.job.get("lease_owner")
    job = _mask(history.job, "lease_owner", (owner,) if owner else (), "<owner>")
    # When and how often an envelope is sent depends on who comes first, and it names the runtime.
    job = {**job, **dict.fromkeys(_QUEUE_COLUMNS, "<queue>")}
    return {
        "messages": [message.decode() for message in history.messages],
        "stream": [entry.decode() for entry in history.stream],
        "published results": [record.decode() for record in history.results],
        "kept result": [] if history.result is None else [history.result.decode()],
        "keys": [f"{key} expires: {has_ttl}" for key, has_ttl in sorted(history.expiring.items())],
        "job": _lines_of(job),
        "attempts": [line for row in attempts for line in _lines_of(row)],
        "images": [line for row in history.images for line in _lines_of(row)],
        "image bytes": list(history.digests),
    }


def _lines_of(row: Row) -> list[str]:
    return [
        f"{name} = {json.dumps(row[name], ensure_ascii=False, sort_keys=True)}"
        for name in sorted(row)
    ]


def _mask(row: Row, column: str, by_nature: Sequence[str], word: str) -> Row:
    return {**row, column: word} if row.get(column) in by_nature else row


def _names_of(history: History) -> dict[str, str]:
    names = {str(history.job["id"]): "<job>", str(history.job["task_id"]): "<task>"}
    return names | {str(row["id"]): f"<image {row['position']}>" for row in history.images}


def _rename(line: str, names: Mapping[str, str]) -> str:
    for found, name in names.items():
        line = line.replace(found, name)
    return line


def _rank_times(lines: Iterable[str]) -> dict[datetime, str]:
    times = {_parse_time(found) for line in lines for found in _TIME.findall(line)}
    return {time: f"<time {rank}>" for rank, time in enumerate(sorted(times), start=1)}


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)

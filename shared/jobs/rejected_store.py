"""Envelopes that name no job of ours, kept for operators: a bounded number, each of bounded size.

Written by whatever receives envelopes; `darkroom rejected` lists them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import DarkroomError, one_line

KEPT = 1_000
"""The newest; about 4 MB at most."""

BODY_CHARS = 4_000
REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class RejectedEnvelope:
    """An envelope that was rejected.

    Attributes:
        code: `malformed_envelope` or `unknown_job`.
        body: What it held; the beginning of it, if it was long.
    """

    received_at: datetime
    runtime: str
    code: str
    reason: str
    body: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {**asdict(self), "received_at": self.received_at.isoformat()}


class RejectedStore:
    """Reads and writes rejected envelopes.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.

    Args:
        runtime: The runtime that receives them.
    """

    def __init__(self, engine: Engine, runtime: str = "") -> None:
        self._run = Statements(engine, __file__)
        self._runtime = runtime

    def note(self, error: DarkroomError, body: str) -> None:
        """Keep an envelope, and the newest of those before it."""
        parameters = {
            "runtime": self._runtime,
            "code": error.code,
            "reason": one_line(str(error))[:REASON_CHARS],
            # PostgreSQL keeps no NUL.
            "body": body.replace("\0", "\N{REPLACEMENT CHARACTER}")[:BODY_CHARS],
            "kept": KEPT - 1,
        }
        self._run("note_rejected", parameters)

    def list(self, limit: int) -> Sequence[RejectedEnvelope]:
        """Return the newest, newest first."""
        rows = self._run("list_rejected", {"limit": limit})
        return [RejectedEnvelope(**row._mapping) for row in rows]

    def purge(self) -> int:
        """Delete all, and return how many."""
        return len(self._run("purge_rejected", {}))

"""The audit: who did what, when, to what. Written by the operator routes and by commands."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import DarkroomError


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of an operator.

    Attributes:
        number: Grows with time.
        who: A key with its id and name, or a user of the command line.
        target: What the action was about, as `job 7d1f...` or `workspace shop-1`.
        error: The code of why it was not done; None if it was done, or its process ended
            in the middle.
    """

    number: int
    at: datetime
    who: str
    action: str
    target: str
    details: Mapping[str, Any]
    error: str | None


class AuditStore:
    """Writes and reads the audit; every method raises ServiceUnavailable without PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    @contextmanager
    def noted(self, who: str, action: str, target: str, **details: Any) -> Iterator[None]:
        """Note an action before the body does it: nothing is done without a row.

        An error of ours in the body is noted, too, and raised.
        """
        given = {"who": who, "action": action, "target": target, "details": json.dumps(details)}
        [row] = self._run("insert_audit", given)
        try:
            yield
        except DarkroomError as error:
            self._run("note_refusal", {"number": row.number, "error": error.code})
            raise

    def list(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Return the newest entries, or the newest before a number."""
        rows = self._run("list_audit", {"limit": limit, "before": before})
        return [AuditEntry(**row._mapping) for row in rows]

    def forget(self, days: float, limit: int) -> int:
        """Delete so many entries at most that are older, and return how many they were."""
        return len(self._run("forget_audit", {"kept_seconds": days * 86_400, "limit": limit}))

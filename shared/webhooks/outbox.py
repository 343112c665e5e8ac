"""The deliveries that are due: taken by senders, and noted when they were tried."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import Statements

RECEIVERS = 1_000
"""Receivers with deliveries that one statement looks at; the next one goes on behind them."""

A_RECEIVER = 10
"""Deliveries that one receiver gets at once: more would only wait there."""


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery to be sent now.

    Attributes:
        number: Its place in the order of events.
        receiver: What is the same for all deliveries that one slow receiver may delay.
        job: The row of the job as the event left it.
        secrets: What signs it.
        tries: With this one.
        is_of_request: Whether a request named the address.
    """

    number: int
    id: UUID
    receiver: str
    address: str
    event: str
    created_at: datetime
    workspace_id: str
    job: Mapping[str, Any]
    secrets: Sequence[str]
    tries: int
    is_of_request: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """How a try ended.

    Attributes:
        status_code: What the receiver answered; None if it did not.
        error: Why it was no success, for a person; None for a success.
        retry_after_seconds: The least wait that the receiver asked for.
    """

    status_code: int | None
    error: str | None = None
    retry_after_seconds: float = 0.0


class Outbox:
    """Takes and notes deliveries. Every method raises ServiceUnavailable without PostgreSQL.

    Args:
        lease_seconds: After so long without a note, a delivery is due again.
        failing_seconds: How long a webhook may fail before a delivery that is given up disables
            it.
    """

    def __init__(self, engine: Engine, lease_seconds: float, failing_seconds: float) -> None:
        self._run = Statements(engine, __file__)
        self._lease_seconds = lease_seconds
        self._failing_seconds = failing_seconds
        self._after = ""

    def take(self, limit: int, busy: Collection[str] = ()) -> tuple[list[DueDelivery], bool]:
        """Take deliveries that are due; return them, and whether there may be more.

        Args:
            limit: The most that are taken.
            busy: Receivers that get none now.
        """
        parameters = {
            **{"after": self._after, "receivers": RECEIVERS, "a_receiver": A_RECEIVER},
            **{"limit": limit, "busy": list(busy), "lease_seconds": self._lease_seconds},
        }
        rows = self._run("take_deliveries", parameters)
        self._after = rows[0].scanned_to or ""
        found = [row for row in rows if row.number is not None]
        taken = [_due_of(row) for row in found if not row.is_put_off]
        return taken, bool(self._after) or len(found) > len(taken)

    def note(
        self, delivery: DueDelivery, answer: Answer, delay_seconds: float | None
    ) -> Mapping[str, Any] | None:
        """Note how a try ended; return its webhook's row if that changed.

        Args:
            delivery: As it was taken.
            answer: How the try ended.
            delay_seconds: When it is due again; None: it was delivered, or is given up.
        """
        is_delivered = answer.error is None
        parameters = {
            **{"number": delivery.number, "tries": delivery.tries},
            **{"status_code": answer.status_code, "error": answer.error and answer.error[:255]},
            "is_delivered": is_delivered,
            "is_gone": answer.status_code == 410,
            "is_given_up": not is_delivered and delay_seconds is None,
            "delay_seconds": delay_seconds,
            "failing_seconds": self._failing_seconds,
        }
        rows = self._run("note_try", parameters)
        return rows[0]._mapping if rows else None


def _due_of(row: Any) -> DueDelivery:
    return DueDelivery(
        row.number,
        UUID(str(row.id)),
        row.receiver,
        row.address,
        row.event,
        row.created_at,
        row.workspace_id,
        row.job,
        tuple(filter(None, (row.secret, row.previous_secret))),
        row.tries,
        row.url is not None,
    )

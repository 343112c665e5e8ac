"""When jobs began to wait, and until when: noted by a trigger, as the row is soon overwritten."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

_INSTALL = """
    CREATE TABLE noted_waits (
        number serial, job_id uuid, failures int, began_at timestamptz, until timestamptz
    );
    CREATE FUNCTION note_wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO noted_waits (job_id, failures, began_at, until)
            VALUES (NEW.id, NEW.attempt, now(), NEW.next_attempt_at);
            RETURN NULL;
        END
    $$;
    CREATE TRIGGER note_wait AFTER UPDATE ON generation_jobs FOR EACH ROW
        WHEN (NEW.next_attempt_at IS NOT NULL AND OLD.next_attempt_at IS NULL)
        EXECUTE FUNCTION note_wait();
"""


@dataclass(frozen=True)
class Wait:
    """One wait of a job for its next attempt.

    Attributes:
        failures: How many attempts had failed when it began.
    """

    failures: int
    began_at: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long the job had to wait."""
        return (self.until - self.began_at) / timedelta(seconds=1)


def note_waits(cursor: Any) -> None:
    """Begin to note the waits of all jobs of a database."""
    cursor.execute(_INSTALL)


def noted_waits(cursor: Any, job_id: UUID) -> list[Wait]:
    """Return the waits of a job so far, oldest first."""
    cursor.execute(
        "SELECT failures, began_at, until FROM noted_waits WHERE job_id = %s ORDER BY number",
        (str(job_id),),
    )
    return [Wait(**row) for row in cursor.fetchall()]

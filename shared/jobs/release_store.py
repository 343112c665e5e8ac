"""The queue in the rows: slots, waiting jobs, and the envelopes that are out.

Used by whatever accepts jobs, ends attempts or sweeps; several processes at once are safe.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.session import naming_missing_schema
from shared.database.statements import Statements
from shared.errors import ServiceUnavailable

BATCH = 100
"""Most envelopes of one statement."""

GROUPS_A_SCAN = 256
"""Most workspaces, each with the jobs of one provider, that one statement compares: it stays flat
with ten thousand that wait."""

_FROM_THE_FIRST = ("", "")

LOCKED_A_SCAN = 20
"""Jobs that one statement passes over because another process has locked their rows."""


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """What decides where and how many jobs are released.

    Attributes:
        runtime: The runtime whose queue gets the envelopes, `celery` or `lambda`.
        provider: The provider of jobs that name none; while theirs is paused, jobs wait.
        running_limit: Jobs that one workspace may run at once, unless it has a limit of its
            own; None for any number.
        others: Further providers that jobs may need.
        provider_limits: By provider, how many of its jobs may be under way at once (`calls`), and
            how many attempts may begin within a minute (`a_minute`), of all runtimes together.
    """

    runtime: str
    provider: str
    running_limit: int | None = None
    others: Sequence[str] = ()
    provider_limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def as_parameters(self) -> dict[str, Any]:
        """Return the parameters of the statements that release jobs."""
        return {
            "runtime": self.runtime,
            "provider": self.provider,
            "providers": [self.provider, *self.others],
            "running_limit": self.running_limit,
            "provider_limits": json.dumps(dict(self.provider_limits)),
            "release_lock": "all" if self.provider_limits else self.runtime,
        }


@dataclass(frozen=True, slots=True)
class ReleasedJob:
    """A job whose envelope may be sent now.

    Attributes:
        envelope_id: Of this envelope alone; Celery's id of the message.
        traceparent: What names the job's submission in traces.
    """

    job_id: UUID
    envelope_id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class OpenEnvelope:
    """An envelope that was sent and has not led to a claim yet.

    Attributes:
        age_seconds: Since it was sent.
        sends: How often the job was released since its last attempt.
    """

    job_id: UUID
    envelope_id: str | None
    age_seconds: float
    sends: int


@dataclass(frozen=True, slots=True)
class Room:
    """What a runtime can take.

    Attributes:
        slots: Jobs that it runs at once.
        free: Envelopes that it has room for: up to two a slot, of which one runs.
        has_waiting: Whether a job waits for one.
    """

    slots: int
    free: int
    has_waiting: bool


class ReleaseStore:
    """Moves jobs between rows and envelopes.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine, rules: ReleaseRules) -> None:
        self._run = Statements(engine, __file__)
        self.rules = rules
        self._scanned_to: Sequence[str] = _FROM_THE_FIRST

    def find_room(self) -> Room | None:
        """Return what the runtime can take; None if no worker of it was seen lately."""
        rows = self._run("find_room", {"runtime": self.rules.runtime})
        return Room(rows[0].slots, rows[0].free, rows[0].has_waiting) if rows else None

    @property
    def has_more(self) -> bool:
        """Whether the last release left workspaces for the next one to look at."""
        return self._scanned_to != _FROM_THE_FIRST

    def release(self, at_least: int = 1) -> list[ReleasedJob]:
        """Count jobs as released, in their order, and return those whose envelope is to be sent.

        Args:
            at_least: Does nothing while the runtime has room for fewer.
        """
        parameters = self.rules.as_parameters() | {
            "at_least": at_least,
            "limit": BATCH,
            "groups": GROUPS_A_SCAN,
            "spare": LOCKED_A_SCAN,
        }
        ends = 0 if self.has_more else 1
        while True:
            # Each statement goes on behind the last group, and begins anew after the last of all:
            # so each gets its turn, also behind many that may run nothing.
            scan = parameters | {"after": list(self._scanned_to)}
            rows = self._run.together(("lock_release", "release_jobs"), scan)
            self._scanned_to = rows[0].scanned_to or _FROM_THE_FIRST
            found = [
                ReleasedJob(UUID(str(row.id)), row.envelope_id, row.traceparent)
                for row in rows
                if row.id is not None
            ]
            ends += not self.has_more
            if found or ends == 2:
                return found

    def withdraw(self, envelopes: Sequence[ReleasedJob | OpenEnvelope], *, were_sent: bool) -> None:
        """Take envelopes back into their rows.

        Args:
            envelopes: Those that are not out, or are lost.
            were_sent: Whether they count as sent; what the queue did not take does not.
        """
        if envelopes:
            self._run(
                "withdraw_jobs",
                {
                    "ids": [str(envelope.job_id) for envelope in envelopes],
                    "envelope_ids": [envelope.envelope_id for envelope in envelopes],
                    "uncounted": 0 if were_sent else 1,
                },
            )

    def find_open(self, older_than_seconds: float) -> tuple[list[OpenEnvelope], int]:
        """Return the oldest envelopes without a claim, and how many jobs the runtime runs."""
        parameters = {
            "runtime": self.rules.runtime,
            "older_than": older_than_seconds,
            "limit": 10 * BATCH,
        }
        rows = self._run("find_released", parameters)
        found = [
            OpenEnvelope(UUID(str(row.id)), row.envelope_id, row.age, row.dispatches)
            for row in rows
        ]
        return found, rows[0].running if rows else 0

    def note_worker(self, owner: str, slots: int, version: str, seconds: float) -> None:
        """Count the slots of a worker for so many seconds."""
        self._run(
            "note_worker",
            {
                "owner": owner,
                "runtime": self.rules.runtime,
                "slots": slots,
                "version": version,
                "seconds": seconds,
            },
        )

    def forget_worker(self, owner: str) -> None:
        """Count the slots of a worker no more."""
        self._run("forget_worker", {"owner": owner})

    def check_workers(self) -> None:
        """Check that a worker of the runtime is there.

        Raises:
            ServiceUnavailable: No worker of the runtime was seen lately, or PostgreSQL cannot be
                reached.
            SchemaMissing: The table of workers is not there.
        """
        with naming_missing_schema():
            room = self.find_room()
        if room is None:
            raise ServiceUnavailable(f"{self.rules.runtime}: no worker was seen lately")

    def find_next_due_seconds(self) -> float | None:
        """Return the time until waiting jobs may start next; None if none waits for a time."""
        rows = self._run("find_next_due", self.rules.as_parameters())
        seconds: float | None = rows[0].seconds
        return seconds

    def set_alarm(self, seconds: float) -> bool:
        """Note that the runtime wakes after so many seconds; False if it wakes earlier anyhow."""
        return bool(self._run("set_alarm", {"runtime": self.rules.runtime, "seconds": seconds}))

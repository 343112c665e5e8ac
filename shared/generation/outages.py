"""Repeating an idempotent call of an attempt while PostgreSQL or the image store is unavailable."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from shared.deadline import Deadline
from shared.errors import (
    LeaseLost,
    ServiceUnavailable,
    SoftTimeLimitReached,
    StorageUnavailable,
)
from shared.generation.lease import HeldLease

SETTLE_SECONDS = 5.0
"""How long an ending is repeated after the deadline has passed."""

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


def repeat_to_soft_limit(call: Callable[[], T], lease: HeldLease, deadline: Deadline) -> T:
    """Repeat a call that the attempt cannot go on without, up to the soft limit.

    Raises:
        LeaseLost: Another attempt has taken the job over meanwhile.
        SoftTimeLimitReached: The server stayed unavailable.
    """
    try:
        return _repeat(call, lease, deadline.seconds_to_soft_limit())
    except (ServiceUnavailable, StorageUnavailable) as error:
        raise SoftTimeLimitReached(deadline.soft_limit_seconds) from error


def repeat_to_settle(call: Callable[[], T], lease: HeldLease, deadline: Deadline) -> T:
    """Repeat the write of an ending, up to the deadline and a little longer.

    Raises:
        LeaseLost: Another attempt has taken the job over meanwhile.
        ServiceUnavailable: PostgreSQL stayed unavailable.
    """
    return _repeat(call, lease, max(deadline.remaining_seconds(), SETTLE_SECONDS))


def _repeat(call: Callable[[], T], lease: HeldLease, at_most_seconds: float) -> T:
    give_up_at = time.monotonic() + at_most_seconds
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except (ServiceUnavailable, StorageUnavailable) as error:
            if time.monotonic() + pause_seconds >= give_up_at:
                raise
            log.warning("write repeated", reason=str(error))
        if isinstance(lease.stop_reason, LeaseLost):
            raise lease.stop_reason
        time.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

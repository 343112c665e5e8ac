"""When another attempt follows: the one backoff policy of both runtimes. Pure.

Its values are settings: RETRY_BACKOFF and RETRY_BACKOFF_MAX in `shared.settings`.
"""

import random
from dataclasses import dataclass

RETRY_AFTER_MAX_SECONDS = 900.0
"""The longest wait a provider may ask for with Retry-After."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Attributes:
        factor_seconds: Wait before the second attempt, before jitter; doubles each time.
        maximum_seconds: The wait is never longer, unless the provider asks for it.
    """

    factor_seconds: int
    maximum_seconds: int

    def ceiling_seconds(self, failures: int) -> int:
        """Return the longest backoff after so many failures, from 1."""
        return int(min(self.maximum_seconds, self.factor_seconds * 2 ** (failures - 1)))

    def delay_seconds(self, failures: int, retry_after_seconds: float | None = None) -> float:
        """Draw the wait before the next attempt.

        The formula is Celery's own (celery/utils/time.py, `get_exponential_backoff_interval`
        with `full_jitter`), so that its autoretry net and this policy draw from one law.

        Args:
            failures: Attempts that have failed so far, from 1.
            retry_after_seconds: What the provider asked for; honoured up to 15 minutes.
        """
        backoff = random.randrange(self.ceiling_seconds(failures) + 1)  # noqa: S311 - jitter
        return float(max(backoff, min(retry_after_seconds or 0, RETRY_AFTER_MAX_SECONDS)))

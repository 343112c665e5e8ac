"""Error tables: which answer of a provider is which of our errors, and what its bill says.

A provider declares its table and raises errors by these rules alone; docs/providers.md shows
them. A call that was sent and not answered in order may have been billed: its charge is
`unknown`. A refusal (4xx) costs nothing.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any

from shared import errors
from shared.errors import AttemptError
from shared.imaging.provider import ChargeState

_UNKNOWN, _CHARGED = ChargeState.UNKNOWN, ChargeState.CHARGED


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One line of an error table.

    Attributes:
        kind: The error that the attempt ends with.
        when: What the provider answers; for documentation.
        charge: What is known of the bill then.
        statuses: The HTTP statuses that this rule is for.
        words: The provider's own codes that this rule is for, whatever the status.
    """

    kind: type[AttemptError]
    when: str
    charge: ChargeState = ChargeState.NONE
    statuses: Container[int] = ()
    words: frozenset[str] = frozenset()

    def error(self, message: str, **facts: Any) -> AttemptError:
        """Return the error; `facts` are further arguments of `AttemptError`."""
        return self.kind(message, **{"charge_state": self.charge.value, **facts})


HTTP_STATUSES = (
    ErrorRule(errors.RateLimited, "429", statuses={429}, words=frozenset({"rate_limit_exceeded"})),
    ErrorRule(errors.ProviderOverloaded, "503, 529", statuses={503, 529}),
    ErrorRule(errors.ProviderRefusedKey, "401, 403", statuses={401, 403}),
    ErrorRule(errors.QuotaExceeded, "402", statuses={402}),
    ErrorRule(
        errors.ProviderUnavailable, "408, 409, other 5xx", _UNKNOWN, {408, 409, *range(500, 600)}
    ),
    ErrorRule(errors.RequestRejected, "other 4xx", statuses=range(300, 500)),
)
"""What any HTTP API means by its statuses; a provider puts its own rules before these."""

NOT_CONNECTED = ErrorRule(errors.ProviderUnavailable, "no connection")
NO_ANSWER = ErrorRule(
    errors.ProviderUnavailable, "connection lost, an answer that cannot be read", _UNKNOWN
)
CONNECT_TIMEOUT = ErrorRule(errors.ProviderTimeout, "no connection in time")
ANSWER_TIMEOUT = ErrorRule(errors.ProviderTimeout, "no answer in time", _UNKNOWN)
SAID = ErrorRule(errors.ProviderUnavailable, "200 with an error instead of an image", _UNKNOWN)
EMPTY = ErrorRule(errors.EmptyResult, "200 without an image, or not JSON", _UNKNOWN)
CORRUPT = ErrorRule(errors.CorruptImage, "an image that is cut short", _CHARGED)
UNUSABLE = ErrorRule(
    errors.UnusableImage,
    "no base64; no image, or one too large; an address that leads nowhere, or must not be fetched",
    _CHARGED,
)
NOT_FETCHED = ErrorRule(
    errors.ProviderUnavailable, "the address of an image that cannot be fetched now", _CHARGED
)
FETCH_TIMEOUT = ErrorRule(
    errors.ProviderTimeout, "the address of an image that does not answer", _CHARGED
)

AROUND_HTTP = (
    *(NOT_CONNECTED, NO_ANSWER, CONNECT_TIMEOUT, ANSWER_TIMEOUT, SAID, EMPTY),
    *(CORRUPT, UNUSABLE, NOT_FETCHED, FETCH_TIMEOUT),
)
"""What happens around a status: before it, instead of it, and after 200."""


def find_rule(
    rules: Sequence[ErrorRule], words: Iterable[str], status: int | None = None
) -> ErrorRule | None:
    """Return the first rule for one of these words, else the first one for this status."""
    said = frozenset(words)
    by_word = (rule for rule in rules if rule.words & said)
    by_status = (rule for rule in rules if status is not None and status in rule.statuses)
    return next(by_word, None) or next(by_status, None)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After-Ms, else Retry-After: seconds, or a date (RFC 9110, section 10.2.3)."""
    readers: tuple[tuple[str, Callable[[str], float]], ...] = (
        ("retry-after-ms", lambda text: float(text) / 1000),
        ("retry-after", float),
        ("retry-after", lambda text: parsedate_to_datetime(text).timestamp() - time()),
    )
    for name, read in readers:
        try:
            seconds = max(0.0, read(headers.get(name, "")))
        except (ValueError, OverflowError):
            continue
        if isfinite(seconds):
            return seconds
    return None

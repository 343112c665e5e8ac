"""What the OpenAI SDK raises, in the words of this project: the one table.

docs/providers.md shows it. A call that was sent and not answered in order may have been billed:
its charge is `unknown`. A refusal (4xx) costs nothing.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import openai

from shared.errors import (
    AttemptError,
    OutputRejected,
    PromptRejected,
    ProviderOverloaded,
    ProviderRefusedKey,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    one_line,
)
from shared.imaging.provider import ChargeState

_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
"""Exceptions of the SDK's HTTP client (httpx2) that come before the first byte goes out."""

_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_MODERATION_CODES = frozenset({"content_policy_violation", "moderation_blocked"})
_OVERLOADED_STATUSES = frozenset({503, 529})

_UNKNOWN = ChargeState.UNKNOWN.value
_NONE = ChargeState.NONE.value


def attempt_error_of(error: openai.OpenAIError) -> AttemptError:
    """Return an error of the SDK as one of ours, with what it knows of the bill."""
    if isinstance(error, openai.APIConnectionError):
        return _of_connection(error)
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIError) and error.code is not None:
        # An error that came as an event of a stream, after the stream had begun.
        return _of_event(error)
    return ProviderUnavailable(
        _line("answered with what is no answer", error), charge_state=_UNKNOWN
    )


def _of_connection(error: openai.APIConnectionError) -> AttemptError:
    cause = type(error.__cause__).__name__
    charge_state = _NONE if cause in _NOT_SENT else _UNKNOWN
    if isinstance(error, openai.APITimeoutError):
        return ProviderTimeout(
            f"The provider did not answer in time ({cause})", charge_state=charge_state
        )
    return ProviderUnavailable(
        f"The connection to the provider failed ({cause})", charge_state=charge_state
    )


def _of_status(error: openai.APIStatusError) -> AttemptError:
    kind, charge_state = _kind_of(error)
    return kind(
        _line(f"answered {error.status_code}", error),
        charge_state=charge_state,
        retry_after_seconds=_retry_after(error.response.headers),
        provider_code=error.code or error.type,
        request_id=error.request_id,
    )


def _kind_of(error: openai.APIStatusError) -> tuple[type[AttemptError], str]:
    status, code = error.status_code, error.code or ""
    if code in _MODERATION_CODES:
        return _moderated(error), _NONE
    if status in (401, 403):
        return ProviderRefusedKey, _NONE
    if status in (402, 429):
        return (QuotaExceeded if status == 402 or code in _QUOTA_CODES else RateLimited), _NONE
    if status in _OVERLOADED_STATUSES:
        return ProviderOverloaded, _NONE
    if status in (408, 409) or status >= 500:
        return ProviderUnavailable, _UNKNOWN
    return RequestRejected, _NONE


def _moderated(error: openai.APIError) -> type[AttemptError]:
    """Tell a refused prompt from a picture that was made and withheld."""
    body = error.body if isinstance(error.body, Mapping) else {}
    details = body.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, Mapping) else None
    return OutputRejected if stage == "output" else PromptRejected


def _of_event(error: openai.APIError) -> AttemptError:
    code = error.code or ""
    kind: type[AttemptError] = ProviderUnavailable
    if code in _MODERATION_CODES:
        kind = _moderated(error)
    elif code in _QUOTA_CODES:
        kind = QuotaExceeded
    elif code == "rate_limit_exceeded":
        kind = RateLimited
    return kind(_line("broke off", error), charge_state=_UNKNOWN, provider_code=code)


def _line(what: str, error: openai.OpenAIError) -> str:
    # The SDK puts the status before the server's own sentence.
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    message = said or getattr(error, "message", "") or type(error).__name__
    return one_line(f"The provider {what}: {message}")


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    """Read Retry-After: seconds, or a date (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return None

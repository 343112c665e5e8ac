"""Which answer of a provider is which error, and what its bill says."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.imaging.providers.error_rules import HTTP_STATUSES, find_rule, retry_after_seconds
from shared.imaging.providers.openai import ERRORS, WITHHELD


@pytest.mark.parametrize(
    ("status", "code", "charge"),
    [
        (302, "request_rejected", "none"),
        (400, "request_rejected", "none"),
        (401, "provider_authentication", "none"),
        (402, "quota_exceeded", "none"),
        (403, "provider_authentication", "none"),
        (404, "request_rejected", "none"),
        (408, "provider_unavailable", "unknown"),
        (409, "provider_unavailable", "unknown"),
        (422, "request_rejected", "none"),
        (429, "rate_limited", "none"),
        (500, "provider_unavailable", "unknown"),
        (503, "provider_overloaded", "none"),
        (529, "provider_overloaded", "none"),
        (599, "provider_unavailable", "unknown"),
    ],
)
def test_each_status_is_one_error(status: int, code: str, charge: str) -> None:
    """For every provider that speaks HTTP."""
    rule = find_rule(HTTP_STATUSES, [], status)
    assert rule is not None
    error = rule.error("message", request_id="req_1")
    assert (error.code, error.charge_state, error.request_id) == (code, charge, "req_1")


def test_a_status_that_is_no_error_has_no_rule() -> None:
    """Nor has one that HTTP does not know."""
    assert [find_rule(HTTP_STATUSES, [], status) for status in (200, 299, 600)] == [None] * 3


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["insufficient_quota"], 429, "quota_exceeded"),
        (["billing_hard_limit_reached"], None, "quota_exceeded"),
        (["moderation_blocked"], 400, "prompt_rejected"),
        (["content_policy_violation"], None, "prompt_rejected"),
        (["moderation_blocked", WITHHELD], 400, "output_rejected"),
        (["rate_limit_exceeded"], None, "rate_limited"),
        (["another_word"], 429, "rate_limited"),
    ],
)
def test_the_provider_s_own_word_counts_before_the_status(
    words: list[str], status: int | None, code: str
) -> None:
    """Of two words, the one whose rule comes first."""
    rule = find_rule(ERRORS, words, status)
    assert rule is not None
    assert rule.kind.code == code


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), ("", None), (None, None)],
)
def test_retry_after_may_be_seconds(text: str | None, seconds: float | None) -> None:
    """Anything else that is not a date is ignored."""
    assert retry_after_seconds({} if text is None else {"retry-after": text}) == seconds


def test_retry_after_may_be_milliseconds() -> None:
    """They are exacter, and count first; no number lets a job wait for ever."""
    both = {"retry-after-ms": "1500", "retry-after": "2"}
    assert retry_after_seconds(both) == 1.5
    assert retry_after_seconds({**both, "retry-after-ms": "soon"}) == 2
    assert retry_after_seconds({"retry-after": "inf"}) is None


def test_retry_after_may_be_a_date() -> None:
    """One in the past asks for no wait."""
    now = datetime.now(UTC)
    soon, past = (
        retry_after_seconds({"retry-after": format_datetime(now + delta, usegmt=True)})
        for delta in (timedelta(seconds=90), timedelta(seconds=-90))
    )
    assert soon is not None
    assert 60 < soon <= 90
    assert past == 0

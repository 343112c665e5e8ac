"""Requests of keys without Redis: each process counts for itself."""

import pytest
from redis import Redis

from shared.access.request_rates import RequestRates, TooManyRequests

NOWHERE = "redis://127.0.0.1:1"


def test_nothing_is_counted_without_a_limit() -> None:
    """And Redis is not asked."""
    rates = RequestRates(Redis.from_url(NOWHERE), None)
    assert rates.take("key") is None


def test_each_key_has_its_own_minute() -> None:
    """What is refused says when to come again."""
    rates = RequestRates(Redis.from_url(NOWHERE), 2)
    for remaining in (1, 0):
        left = rates.take("one")
        assert left is not None
        assert (left.limit, left.remaining, left.reset_seconds <= 60) == (2, remaining, True)
    with pytest.raises(TooManyRequests) as caught:
        rates.take("one")
    assert 1 <= caught.value.retry_after_seconds <= 60
    assert rates.take("other") is not None

"""The backoff: Celery's own law, and the provider's wishes within bounds."""

import random

import pytest
from celery.utils.time import get_exponential_backoff_interval

from shared.jobs.retry import RetryPolicy
from tests.support.builders import build_settings

POLICY = RetryPolicy(factor_seconds=2, maximum_seconds=300)


@pytest.mark.parametrize("factor", [0, 1, 2, 7, 300, 1000])
@pytest.mark.parametrize("maximum", [0, 1, 300, 900])
def test_the_delay_is_the_one_that_celery_would_draw(factor: int, maximum: int) -> None:
    """With the same seed both draw the same number, for every attempt there may be."""
    policy = RetryPolicy(factor, maximum)
    for failures in range(1, 21):
        seed = factor * 1_000_000 + maximum * 1000 + failures
        random.seed(seed)
        ours = policy.delay_seconds(failures)
        random.seed(seed)
        theirs = get_exponential_backoff_interval(
            factor=factor, retries=failures - 1, maximum=maximum, full_jitter=True
        )
        assert ours == theirs, (failures, seed)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    """2, 4, 8 seconds and so on, five minutes at most."""
    ceilings = [POLICY.ceiling_seconds(failures) for failures in range(1, 11)]
    assert ceilings == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_the_delay_lies_between_nothing_and_the_ceiling() -> None:
    """Full jitter uses the whole span, both ends included."""
    drawn = {POLICY.delay_seconds(2) for _ in range(500)}
    assert drawn == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("asked", "least"), [(10.5, 10.5), (0, 0), (-5, 0), (899, 899), (900, 900), (1e9, 900)]
)
def test_a_provider_is_left_alone_for_as_long_as_it_asks(asked: float, least: float) -> None:
    """At least so long, but no longer than 15 minutes, and never less than nothing."""
    policy = RetryPolicy(factor_seconds=0, maximum_seconds=0)
    assert policy.delay_seconds(1, asked) == least


def test_a_short_wish_does_not_shorten_the_backoff() -> None:
    """Retry-After is a least wait, not the wait."""
    for seed in range(50):
        random.seed(seed)
        without = POLICY.delay_seconds(5)
        random.seed(seed)
        assert POLICY.delay_seconds(5, 3.0) == max(3.0, without)


def test_the_policy_is_that_of_the_settings() -> None:
    """RETRY_BACKOFF and RETRY_BACKOFF_MAX."""
    settings = build_settings(retry_backoff=5, retry_backoff_max=70)
    assert settings.retry_policy == RetryPolicy(5, 70)

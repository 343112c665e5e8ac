"""Limits of providers: jobs at once, attempts a minute, and a provider that asks for a pause."""

from collections.abc import Mapping
from itertools import pairwise

import pytest

from tests.support.runtime import SLOTS, Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until

A_MINUTE = 4


@pytest.fixture(scope="module")
def own_settings() -> Mapping[str, str]:
    """Have a runtime with limits of its provider that are lower than its slots allow."""
    return {
        "MAX_PROVIDER_CALLS": '{"mock": 1}',
        "MAX_PROVIDER_CALLS_PER_MINUTE": f'{{"mock": {A_MINUTE}}}',
    }


@pytest.fixture
def limited(own_runtime: Runtime) -> Runtime:
    """Give the runtime, with a minute of which nothing is used up."""
    end_minute(own_runtime)
    return own_runtime


def end_minute(runtime: Runtime) -> None:
    """Let all attempts have begun more than a minute ago."""
    with runtime.database() as cursor:
        cursor.execute(
            "UPDATE generation_attempts SET started_at = started_at - interval '1 minute'"
        )


def test_jobs_of_a_provider_wait_in_their_rows_for_each_other(limited: Runtime) -> None:
    """One at a time, in their order, although there are more slots and as many envelopes."""
    assert SLOTS > 1
    jobs = [limited.submit("a mug [[slow:0.3]]") for _ in range(3)]
    limited.wait_for_step(jobs[0], 10)
    waiting = [limited.rows(job).job for job in jobs[1:]]
    assert [row["dispatched_at"] for row in waiting] == [None, None]
    ran = [limited.finish(job).attempts[0] for job in jobs]
    for one, next_one in pairwise(ran):
        assert one["finished_at"] <= next_one["started_at"]


def test_attempts_beyond_the_minute_wait_in_their_rows(limited: Runtime) -> None:
    """Each attempt counts, also one that is retried; the rest begins when the minute is over."""
    first = limited.submit("a mug [[fail:1]]")
    assert outcomes(limited.finish(first)) == ["failed", "completed"]
    jobs = [limited.submit("a mug") for _ in range(A_MINUTE)]
    for job in jobs[: A_MINUTE - 2]:
        assert outcomes(limited.finish(job)) == ["completed"]
    rows = [limited.rows(job) for job in jobs[A_MINUTE - 2 :]]
    assert [(row.job["dispatched_at"], row.attempts) for row in rows] == [(None, [])] * 2
    end_minute(limited)
    for job in jobs:
        assert outcomes(limited.finish(job)) == ["completed"]


def test_a_provider_that_asks_for_a_pause_gets_one(runtime: Runtime) -> None:
    """Its jobs wait in their rows, take no slot, and start by themselves."""
    asked = runtime.submit("a mug [[busy:3]]")
    wait_until(lambda: runtime.rows(asked).job["next_attempt_at"], 20, "the first attempt")
    others = [runtime.submit("a mug") for _ in range(SLOTS + 1)]
    [attempt] = runtime.rows(asked).attempts
    for job in others:
        row = runtime.rows(job).job
        assert (row["dispatched_at"], row["attempt"]) == (None, 0)
    for job in (asked, *others):
        rows = runtime.finish(job)
        assert rows.job["status"] == "COMPLETED"
        waited = rows.attempts[-1]["started_at"] - attempt["finished_at"]
        assert 2.8 < waited.total_seconds() < 6
    assert outcomes(runtime.finish(asked)) == ["failed", "completed"]

"""Errors: what each says, and what of it goes into rows and to Celery's clients."""

import json
import pickle
from datetime import UTC, datetime

import pytest
from celery import Celery

from shared import errors
from shared.errors import (
    MESSAGE_MAX_CHARS,
    AttemptError,
    DarkroomError,
    ImagesMissing,
    JobFailed,
    LeaseLost,
    ProviderUnavailable,
    RateLimited,
    TimeLimitReached,
    UnknownJob,
    WorkerLost,
    error_record,
    one_line,
)
from shared.events.event import failed_record

ALL = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, DarkroomError)
]


def test_every_error_has_a_code_of_its_own() -> None:
    """Only faults of ours and their common roots share one, and those of a used up budget."""
    codes = [error.code for error in ALL if error.code not in ("internal", "budget_exceeded")]
    assert len(set(codes)) == len(codes)
    shared = {error.__name__ for error in ALL if error.code == "internal"}
    assert shared == {"DarkroomError", "AttemptError", "UnexpectedError"}


def test_every_error_that_a_job_may_have_has_a_title() -> None:
    """Clients show it; a lost lease is never the end of a job."""
    untitled = {error for error in ALL if issubclass(error, AttemptError) and not error.title}
    assert untitled == {AttemptError, LeaseLost}


def test_the_errors_that_another_attempt_may_mend() -> None:
    """Limits, rejections, cancellation and faults of ours are not among them."""
    assert {error.code for error in ALL if error.retryable} == {
        "service_unavailable",
        "provider_unavailable",
        "provider_overloaded",
        "provider_timeout",
        "rate_limited",
        "output_rejected",
        "empty_result",
        "corrupt_image",
        "images_missing",
        "storage_unavailable",
        "worker_lost",
    }


def test_a_record_holds_what_clients_and_operators_need() -> None:
    """Code, message, whether it may be retried, and the attempt."""
    assert error_record(TimeLimitReached(330), 2) == {
        "code": "time_limit",
        "message": "Killed at the time limit of 330 s",
        "retryable": False,
        "attempt": 2,
    }


def test_a_record_keeps_the_providers_own_word() -> None:
    """Where the provider sent none, the key is absent."""
    error = RateLimited("Slow down", provider_code="tokens", retry_after_seconds=3)
    assert error_record(error, 1)["provider_code"] == "tokens"
    assert "provider_code" not in error_record(RateLimited("Slow down"), 1)


def test_a_message_becomes_one_bounded_line() -> None:
    """However long and broken a provider's answer is."""
    assert one_line("  a\n\tb\r\n c ") == "a b c"
    long = one_line("x" * 10_000)
    assert len(long) == MESSAGE_MAX_CHARS
    assert long.endswith("…")
    assert one_line("x" * MESSAGE_MAX_CHARS) == "x" * MESSAGE_MAX_CHARS
    assert one_line("") == ""


@pytest.mark.parametrize("bad", ["\x00", "\ud800", "\x1b[31m", "\x7f", "\x85"])
def test_a_message_holds_nothing_that_a_database_refuses(bad: str) -> None:
    """PostgreSQL keeps no NUL and no lone surrogate: with one, no end could be written."""
    error = ProviderUnavailable(f"Bad{bad}gateway 👩‍🚀", provider_code=f"e{bad}1")
    record = error_record(error, 1)
    for text in (record["message"], record["provider_code"]):
        assert bad not in text
        assert "\x00" not in text
        text.encode()
    assert record["message"].endswith("👩‍🚀")


def test_errors_name_the_value_and_bound_it() -> None:
    """A line of a log stays a line, whatever stood in an envelope."""
    assert str(UnknownJob("x" * 500)) == f"no job {'x' * 64!r}"
    assert str(ImagesMissing(4, 3)) == "3 of 4 images did not come from the provider"
    assert str(WorkerLost(2)) == "The worker was lost during attempt 2"


def test_celery_rebuilds_the_failure_from_our_record() -> None:
    """`AsyncResult.get()` raises the very class, with code and message."""
    record = json.loads(failed_record("task", "rate_limited", "Slow down", datetime.now(UTC)))
    app = Celery("reader", set_as_current=False, broker="memory://", backend="cache+memory://")
    rebuilt = app.backend.exception_to_python(record["result"])
    assert type(rebuilt) is JobFailed
    assert (rebuilt.failure_code, rebuilt.message) == ("rate_limited", "Slow down")
    assert rebuilt.args == ("rate_limited", "Slow down")
    copy = pickle.loads(pickle.dumps(rebuilt))  # noqa: S301 - our own bytes
    assert copy.message == "Slow down"

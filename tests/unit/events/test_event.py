"""Events as they are parsed, and the records that Celery's clients read."""

import json
from datetime import UTC, datetime

import pytest

from shared.events.event import (
    Event,
    completed_record,
    failed_record,
    parse_entries,
    parse_event,
    row_event,
    running_record,
)
from shared.events.keys import Keys, unprefixed
from shared.status import COMPLETED, QUEUED, failed, rendering

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def test_the_names_of_keys_and_channels_are_fixed() -> None:
    """Clients subscribe to them by these names."""
    for keys, prefix in ((unprefixed, ""), (Keys("shop:"), "shop:")):
        names = [f(keys, "t") for f in (Keys.channel, Keys.stream, Keys.celery_record, Keys.fence)]
        wanted = ("task_updates:t", "task_events:t", "celery-task-meta-t", "task_fence:t")
        assert names == [f"{prefix}{name}" for name in wanted]


def test_what_was_published_is_read_back() -> None:
    """The step as it was, under the id of its entry."""
    for step in (QUEUED, rendering(30), COMPLETED, failed(30, 'né "像"')):
        assert parse_event("5-1", step.as_json()) == Event("5-1", step)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"status": "processing", "progress": 1e999, "message": ""}',
        '{"status": "processing", "progress": NaN, "message": ""}',
        '{"status": "processing", "progress": [], "message": ""}',
        '{"status": "done", "progress": 1, "message": ""}',
    ],
)
def test_an_entry_that_is_no_event_stops_no_reader(data: str) -> None:
    """Whatever Python's parser and its numbers raise."""
    good = QUEUED.as_json()
    entries = [("1-0", {"event": data}), ("2-0", {}), ("3-0", {"event": good})]
    assert parse_entries(entries) == [Event("3-0", QUEUED)]


def test_the_last_event_knows_that_it_is() -> None:
    """Followers stop there."""
    assert row_event(COMPLETED, datetime(2026, 1, 2, tzinfo=UTC)).is_last
    assert Event("1-0", failed(0, "x")).is_last
    assert not Event("1-0", QUEUED).is_last
    assert not Event("1-0", rendering(90)).is_last


def test_the_record_of_a_running_job_shows_its_step() -> None:
    """A custom state with the three keys as meta."""
    record = json.loads(running_record("t", rendering(30)))
    assert (record["status"], record["task_id"]) == ("PROCESSING", "t")
    assert record["result"] == rendering(30).as_dict()
    assert record["date_done"] is None


def test_the_record_of_a_completed_job_lists_its_images() -> None:
    """As `AsyncResult.get()` returns it."""
    record = json.loads(completed_record("t", "j", ("/a", "/b"), NOW))
    assert record["status"] == "SUCCESS"
    assert record["result"] == {"job_id": "j", "images": ["/a", "/b"]}
    assert record["date_done"] == "2026-01-02T03:04:05.000678+00:00"


def test_the_record_of_a_failed_job_names_the_error_class() -> None:
    """In the form that Celery itself writes."""
    record = json.loads(failed_record("t", "time_limit", "Killed", NOW))
    assert record["status"] == "FAILURE"
    assert record["result"] == {
        "exc_type": "JobFailed",
        "exc_module": "shared.errors",
        "exc_message": ["time_limit", "Killed"],
    }
    assert set(record) == {"status", "result", "traceback", "children", "date_done", "task_id"}

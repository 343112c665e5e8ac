"""Parity: the story keeps all that matters, and the comparison finds all that differs."""

import json
from collections.abc import Generator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from cli.parity import as_markdown, verdict
from devkit.parity.compare import compare, find_deviations, find_differences, normalise
from devkit.parity.history import History
from devkit.parity.play import play_together
from devkit.parity.scenarios import SCENARIOS, Expected, Scenario, select_scenarios
from shared.errors import ConfigurationError
from shared.imaging.request import GenerationRequest
from shared.status import COMPLETED, QUEUED, STARTING

DIGEST = "a" * 64
PLAIN = SCENARIOS[0]


def history(runtime: str = "celery", second: int = 0) -> History:
    """Return the history of a plain job, with ids of its own, that began at a given second."""
    job_id, task_id, image_id = (str(uuid4()) for _ in range(3))
    steps = [step.as_json().encode() for step in (QUEUED, STARTING, COMPLETED)]
    url = f"/v1/images/{image_id}"
    started, finished = f"2026-11-23T10:00:{second:02}+00:00", f"2026-11-23T10:01:{second:02}+00:00"
    result = json.dumps(
        {"status": "SUCCESS", "result": {"job_id": job_id, "images": [url]}, "date_done": finished}
    ).encode()
    job = {
        "id": job_id,
        "task_id": task_id,
        "status": "COMPLETED",
        "error": None,
        "result": {"images": [{"id": image_id, "url": url}], "missing": 0},
        "lease_owner": None,
        "started_at": started,
        "finished_at": finished,
    }
    return History(
        messages=steps,
        stream=[b"event=" + step for step in steps],
        results=[result],
        result=result,
        expiring={f"task_events:{task_id}": True},
        job=job,
        attempts=[{"job_id": job_id, "number": 1, "runtime": runtime, "started_at": started}],
        images=[{"id": image_id, "position": 0, "url": url, "sha256": DIGEST}],
        digests=[DIGEST],
    )


def kinds_that_differ(left: History, right: History) -> list[str]:
    """Return the kinds of record in which two histories differ."""
    lines = find_differences({"celery": left, "lambda": right})
    marks = ("--- ", ", celery")
    return [
        line.removeprefix(marks[0]).removesuffix(marks[1])
        for line in lines
        if line.startswith(marks[0])
    ]


def test_histories_that_differ_by_nature_alone_are_equal() -> None:
    """Ids, times and the name of the runtime are not compared."""
    assert kinds_that_differ(history("celery", 1), history("lambda", 30)) == []


@pytest.mark.parametrize(
    ("kind", "planted"),
    [
        ("messages", {"messages": [QUEUED.as_json().encode()]}),
        ("messages", {"messages": [b'{"status":"pending"}', *history().messages[1:]]}),
        ("stream", {"stream": [*history().stream, b"event={}"]}),
        ("published results", {"results": []}),
        ("kept result", {"result": None}),
        ("keys", {"expiring": {}}),
        ("attempts", {"attempts": []}),
        ("images", {"images": []}),
        ("image bytes", {"digests": ["b" * 64]}),
        ("order of attempts", {"order": ["other", "job"]}),
    ],
)
def test_planted_difference_is_found(kind: str, planted: dict[str, Any]) -> None:
    """Every kind of record is compared."""
    assert kind in kinds_that_differ(history(), replace(history(), **planted))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("job", "status", "FAILED"),
        ("job", "finished_at", None),
        ("job", "lease_owner", "host:1"),
        ("attempts", "number", 2),
        ("attempts", "runtime", "another"),
        ("images", "sha256", "b" * 64),
    ],
)
def test_planted_difference_in_a_column_is_found(table: str, column: str, value: object) -> None:
    """Every column of every row is compared; a missing time is not any time."""
    other = history()
    row = getattr(other, table)
    changed: Any = {**row, column: value} if table == "job" else [{**row[0], column: value}]
    assert table in kinds_that_differ(history(), replace(other, **dict[str, Any]({table: changed})))


def test_two_times_in_another_order_are_a_difference() -> None:
    """The histories of a job that ends before it starts differ."""
    left, right = history(), history()
    swapped = {
        **right.job,
        "started_at": right.job["finished_at"],
        "finished_at": right.job["started_at"],
    }
    assert "job" in kinds_that_differ(left, replace(right, job=swapped))


def test_time_keeps_its_rank_however_it_is_written() -> None:
    """PostgreSQL and Python write one instant differently; it is the same time of the story."""
    plain = history()
    rewritten = json.dumps({"date_done": "2026-11-23T10:01:00.000000+00:00"}).encode()
    story = normalise(replace(plain, result=rewritten))
    assert story["kept result"] == ['{"date_done": "<time 2>"}']
    assert 'finished_at = "<time 2>"' in story["job"]


def test_messages_keep_their_order() -> None:
    """The same messages in another order are a difference."""
    plain = history()
    assert "messages" in kinds_that_differ(
        plain, replace(history(), messages=list(reversed(plain.messages)))
    )


def test_history_as_it_must_be_has_no_deviation() -> None:
    """The plain history fulfils the plain scenario."""
    assert find_deviations(PLAIN.expected, history()) == []


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ({"messages": [*history().messages, *history().messages]}, "last messages"),
        ({"expiring": {"task_events:x": False}}, "keys without TTL"),
        ({"digests": ["b" * 64]}, "right image bytes"),
        ({"attempts": []}, "attempts"),
    ],
)
def test_deviation_from_what_must_be_is_named(planted: dict[str, Any], named: str) -> None:
    """Two runtimes that are equally wrong are wrong."""
    deviations = find_deviations(PLAIN.expected, replace(history(), **planted))
    assert [line for line in deviations if line.startswith(named)]


def test_a_job_that_waited_behind_too_many_others_is_named() -> None:
    """Fewer than allowed are as good."""
    expected = replace(PLAIN.expected, ahead=2)
    assert find_deviations(expected, replace(history(), ahead=1)) == []
    deviations = find_deviations(expected, replace(history(), ahead=3))
    assert deviations == ["others ahead must be 2, not 3"]


def test_wrong_end_is_named() -> None:
    """Status, error code and images are what the scenario says."""
    expected = Expected("cancelled", attempts=1)
    deviations = find_deviations(expected, history())
    assert "status must be FAILED, not COMPLETED" in deviations
    assert "error code must be cancelled, not None" in deviations


def test_faults_say_where_the_runtimes_part() -> None:
    """They show both sides; the table and the last line say that something differs."""
    other = replace(history("lambda"), digests=["b" * 64])
    comparison = compare(PLAIN, {"celery": history(), "lambda": other})
    assert comparison.faults == [
        "lambda: right image bytes must be 1, not 0",
        "--- image bytes, celery",
        "+++ image bytes, lambda",
        "@@ -1 +1 @@",
        f"-{DIGEST}",
        f"+{'b' * 64}",
    ]
    assert as_markdown([comparison.row]).endswith("| no |")
    assert verdict(1, 1) == "1 of 1 scenario with differences"


def test_table_of_equal_histories_is_short() -> None:
    """The table has a header, a rule and a line for the scenario."""
    comparison = compare(PLAIN, {"celery": history(), "lambda": history("lambda")})
    assert as_markdown([comparison.row]).splitlines()[2] == (
        "| A job completes | pending 0, processing 5, completed 100 | 1 saved "
        "| 1 attempt, 3 messages | 1 attempt, 3 messages | yes |"
    )
    assert verdict(2, 0) == "2 scenarios, no difference"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario_can_be_compared_between_runs(scenario: Scenario) -> None:
    """A seed drawn at random would make pictures that differ by nature."""
    if scenario.expected.code != "invalid_request":
        assert GenerationRequest.from_untrusted(scenario.request).seed is not None


def test_scenarios_are_found_by_name_in_their_own_order() -> None:
    """No name means all of them; an unknown one is refused with those that there are."""
    assert select_scenarios(()) == SCENARIOS
    assert [found.name for found in select_scenarios(("rejected", "plain"))] == [
        "plain",
        "rejected",
    ]
    with pytest.raises(ConfigurationError, match="no scenario nonsense; there are plain, "):
        select_scenarios(("plain", "nonsense"))


def test_plays_are_carried_on_side_by_side() -> None:
    """None waits for the end of another; results come in the order of the plays."""
    ran: list[str] = []

    def speak(name: str, times: int) -> Generator[None, None, str]:
        for _ in range(times):
            ran.append(name)
            yield
        return name

    assert play_together([speak("slow", 3), speak("quick", 1)]) == ["slow", "quick"]
    assert ran == ["slow", "quick", "slow", "slow"]

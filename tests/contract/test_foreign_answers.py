"""Whatever a server of the OpenAI Images API answers, over real HTTP: pictures are paid once."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from shared.jobs.model import Job
from tests.support.foreign_answers import DIALECTS, WHOLE, Row
from tests.support.foreign_images_api import ForeignImagesApi
from tests.support.foreign_streams import STREAMS
from tests.support.runtime import SLOTS, Rows, Runtime
from tests.support.tracker_answers import FORMS, SEEN_IN, TRACKED, TRACKERS

ASKED = {
    "whole": {"OPENAI_MODEL": "vendor/pictures-1", "OPENAI_PRICES": '{"*": 40000}'},
    "stream": {
        "OPENAI_MODEL": "vendor/gpt-image-2.5-flare",
        "OPENAI_PRICES": '{"*": 40000}',
        "OPENAI_OMIT": "partial_images",
    },
}
"""What is asked for: the model decides."""

ROWS = {"whole": {**WHOLE, **TRACKED}, "stream": STREAMS}
UNKNOWN = {
    "whole": ("response_format", "size", "quality", "n"),
    "stream": ("output_format", "size", "stream"),
}


@pytest.fixture(scope="module", params=[*ASKED])
def asked(request: pytest.FixtureRequest) -> str:
    """Name what is asked for."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(asked: str) -> Iterator[ForeignImagesApi]:
    """Give the server of all rows."""
    rows = {name: row.replies for name, row in {**ROWS[asked], **DIALECTS}.items()}
    with ForeignImagesApi(rows) as api:
        yield api


@pytest.fixture(autouse=True)
def forgotten(server: ForeignImagesApi) -> None:
    """Count the calls of each runtime and test from zero."""
    server.forget()


@pytest.fixture(scope="module")
def own_settings(asked: str, server: ForeignImagesApi) -> Mapping[str, str]:
    """Have workers that call the server, and try again at once."""
    limits = {"SOFT_TIME_LIMIT": "20", "TIME_LIMIT": "25", "RETRY_BACKOFF": "0"}
    return {**limits, "OPENAI_QUALITY": "high", **server.environment, **ASKED[asked]}


def submit(runtime: Runtime, name: str, row: Row) -> Job:
    """Submit the job of a row."""
    return runtime.submit(name, n=row.n, size="1024x1024", **(row.request or {}))


def assert_ended_as(row: Row, rows: Rows, name: str) -> None:
    """A job has its pictures, or the reason in the server's own words, and what it cost."""
    line = rows.attempts[-1]
    assert line["charge_state"] == row.charge, name
    if row.code is not None:
        assert (rows.job["status"], rows.job["error"]["code"]) == ("FAILED", row.code), name
        assert "<" not in rows.job["error"]["message"], name
    else:
        assert rows.job["status"] == "COMPLETED", (name, rows.job["error"])
        assert len(rows.images) == row.n - row.missing, name
        assert {image["width_px"] for image in rows.images} == {64}, name
    if row.charge == "charged":
        assert line["price_microdollars"] >= 40_000, name
    for before, after in zip(rows.attempts, rows.attempts[1:], strict=False):
        waited = (after["started_at"] - before["finished_at"]).total_seconds()
        assert waited >= row.waits_seconds, name


def test_each_answer_ends_as_the_table_says(
    own_runtime: Runtime, server: ForeignImagesApi, asked: str
) -> None:
    """With exactly so many calls; never as an internal error."""
    jobs = {name: submit(own_runtime, name, row) for name, row in ROWS[asked].items()}
    wrong = []
    for name, row in ROWS[asked].items():
        rows = own_runtime.finish(jobs[name], within=120)
        try:
            assert_ended_as(row, rows, name)
            assert server.count(name) == row.calls, name
            assert row.says in said_of(own_runtime, rows), name
        except AssertionError as error:
            wrong.append(str(error).partition("\nassert")[0])
    assert not wrong, "\n".join(wrong)
    # In one test, as each process remembers what it has learned.
    assert_unknown_parameters_are_left_out(own_runtime, server, asked)


def said_of(runtime: Runtime, rows: Rows) -> str:
    """Return what the row and the log say of the last error."""
    lines = [line for line in runtime.log_lines() if line.get("job_id") == str(rows.job["id"])]
    return str((rows.job["error"] or {}).get("message", "")) + str(lines)


def assert_unknown_parameters_are_left_out(
    runtime: Runtime, server: ForeignImagesApi, asked: str
) -> None:
    """The server is asked once more; each process remembers that for later jobs."""
    for parameter in UNKNOWN[asked]:
        name = f"unknown {parameter}"
        row = DIALECTS[name]
        for number in range(1, 5):
            rows = runtime.finish(submit(runtime, name, row))
            assert_ended_as(row, rows, name)
            assert len(rows.attempts) == 1
            if number == 1:
                assert server.count(name) == row.calls
        assert server.count(name) <= number + SLOTS
        first, second = server.calls[name][:2]
        assert parameter in first.body
        assert "partial_images" not in first.body
        assert parameter not in second.body
        assert first.idempotency_key != second.idempotency_key


def test_a_repetition_has_a_key_of_its_own_only_after_an_answer(
    own_runtime: Runtime, server: ForeignImagesApi, asked: str
) -> None:
    """A server that knows the key of a call in doubt sends no second bill."""
    rows = {name: row for name, row in ROWS[asked].items() if name in KEYS}
    jobs = {name: submit(own_runtime, name, row) for name, row in rows.items()}
    for name, job in jobs.items():
        own_runtime.finish(job)
        found = [re.match(rf"{job.id}-(\d+)", call.idempotency_key) for call in server.calls[name]]
        assert tuple(int(key.group(1)) for key in found if key) == KEYS[name], name


def test_the_rows_say_where_they_were_seen() -> None:
    """Twenty threads and more of seven trackers, each with rows that exist."""
    known = {*WHOLE, *TRACKED, *STREAMS, *DIALECTS, *FORMS}
    assert {row for rows in SEEN_IN.values() for row in rows} <= known
    assert set(TRACKED) <= {row for rows in SEEN_IN.values() for row in rows}
    threads = Counter(thread.partition("#")[0] for thread in SEEN_IN)
    assert min(threads[tracker] for tracker in TRACKERS) >= 1
    assert sum(threads[tracker] for tracker in TRACKERS) >= 20


KEYS = {
    "out of memory, with 200": (1, 1, 1),
    "no picture": (1, 1, 1),
    "nothing, tried again": (1, 1, 1),
    "rate limit in milliseconds": (1, 2),
}

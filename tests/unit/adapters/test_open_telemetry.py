"""Spans are made and exported by each process for itself, and cost no work its time."""

import os
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from pydantic import SecretStr

from shared import tracing
from shared.adapters.open_telemetry import start_tracing
from shared.tracing import JobTrace, Place
from tests.support.builders import build_settings
from tests.support.collector import Collector
from tests.support.wait import wait_until

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Give a collector that this process exports to."""
    with Collector() as collector:
        start_tracing(
            build_settings(
                otel_exporter_otlp_endpoint=f"{collector.url}/",
                otel_exporter_otlp_headers=SecretStr("x-key=1"),
            )
        )
        yield collector
        collector.manner = "drops"
    tracing.install()


def test_off_is_the_default() -> None:
    """A span then names nothing."""
    with tracing.span("none") as span:
        assert (span.traceparent, span.log_fields, tracing.is_on()) == (None, {}, False)


def test_spans_of_a_child_are_its_own(collector: Collector) -> None:
    """It exports them by a thread and a connection of its own; so does the parent."""
    with tracing.span("before", place=Place(CALLER)):
        pass
    tracing.flush(5)
    with tracing.span("parent", place=Place(CALLER)):
        pid = os.fork()
        if pid == 0:
            with tracing.span("child"):
                pass
            tracing.flush(5)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    tracing.flush(5)
    trace_id = CALLER.split("-")[1]
    assert collector.tree(trace_id, "00f067aa0ba902b7") == ["before", ["parent", ["child"]]]
    first, of_child, second = collector.ports
    assert first == second != of_child


def test_a_collector_that_hangs_is_waited_for_once(collector: Collector) -> None:
    """For as long as was asked for; what ends meanwhile is taken by the queue, or lost."""
    collector.manner = "hangs"
    began_at = time.monotonic()
    for _ in range(3):
        for _ in range(3_000):
            with tracing.span("lost"):
                pass
        tracing.flush(0.3)
    assert 0.3 < time.monotonic() - began_at < 3
    collector.stopped.set()


@pytest.mark.parametrize(
    "given", ["", "none", f"00-{'0' * 32}-00f067aa0ba902b7-01", "ff" + CALLER[2:]]
)
def test_a_parent_that_is_none_begins_a_trace(collector: Collector, given: str) -> None:
    """A client may send anything."""
    with tracing.span("outer"), tracing.span("request", "server", place=Place(given)) as span:
        name = span.log_fields["trace_id"]
    tracing.flush(5)
    assert collector.tree(name) == ["request"]


def test_what_is_not_sampled_stays_so(collector: Collector) -> None:
    """In the row and in all that follows from it."""
    with tracing.span("request", place=Place(CALLER[:-2] + "00")) as span:
        traceparent = span.traceparent
    assert traceparent is not None
    with tracing.span("process", place=JobTrace(uuid4(), traceparent).place_of(1)):
        pass
    tracing.flush(1)
    assert collector.bodies == []


def test_a_job_without_a_request_has_a_trace_of_its_own(collector: Collector) -> None:
    """Its id is the job's; each attempt links to the one before."""
    job = JobTrace(uuid4(), None)
    for token in (1, 2):
        with tracing.span(f"attempt {token}", "consumer", place=job.place_of(token)):
            pass
    tracing.flush(5)
    first, second = collector.spans(job.job_id.hex)
    assert (first.links, second.links) == ((), (first.id,))
    assert job.attempt(1) == f"00-{first.trace_id}-{first.id}-01"


def test_a_span_that_cannot_be_made_fails_nothing(collector: Collector) -> None:
    """The block runs as without traces."""
    with tracing.span("wrong", place=Place(trace_id="no number")) as span:
        assert span is tracing.OFF


def test_an_error_marks_its_span_and_goes_on(collector: Collector) -> None:
    """By its class; its message may be secret."""
    with pytest.raises(ValueError, match="secret"), tracing.span("fails", place=Place(CALLER)):
        raise ValueError("a secret")
    tracing.flush(5)
    wait_until(lambda: collector.bodies, 5, "the span")
    [span] = collector.spans(CALLER.split("-")[1])
    assert (span.is_error, span.attributes) == (True, {"error.type": "ValueError"})
    assert b"secret" not in collector.bodies[-1]

"""Traces: a collector receives the same tree of spans from both runtimes, and harms no job."""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from shared import __version__, tracing
from tests.support.api import http_get
from tests.support.collector import Collector, ReceivedSpan
from tests.support.receiver import receiving
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

CALLER = "00f067aa0ba902b7"
"""The span of the client that submits jobs."""

PATIENCE_SECONDS = 30

SENT = "send image_generation"
ATTEMPT = ["process image_generation", ["generate_content mock-1", "save image"]]
FAILED_ATTEMPT = ["process image_generation", ["generate_content mock-1"]]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Give what all processes of both runtimes export to."""
    with Collector() as collector:
        yield collector
    tracing.install()


@pytest.fixture(scope="module")
def own_settings(collector: Collector) -> Mapping[str, str]:
    """Export soon, retry at once, and let receivers of webhooks be on this machine."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=the%20key",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "WEBHOOK_PRIVATE_NETWORKS": "true",
        "WEBHOOK_RETRY_SECONDS": "0.2,0.2",
        "RETRY_BACKOFF": "0",
        # No envelope is taken for lost, however slow the machine.
        "DISPATCH_GRACE_SECONDS": "60",
    }


def in_new_trace(runtime: Runtime, path: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Submit a job as a part of a client's trace; return its id and the trace's."""
    trace_id = uuid4().hex
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-01", "x-request-id": f"order-{trace_id}"}
    answer = runtime.api.client.post(path, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["x-request-id"] == headers["x-request-id"]
    return answer.json()["id"], trace_id


def let_know(runtime: Runtime, url: str) -> None:
    """Have a receiver learn of completed jobs."""
    body = {"url": url, "events": ["generation.completed"]}
    assert runtime.api.client.post("/v1/webhooks", json=body).status_code == 201


def submit(runtime: Runtime, prompt: str) -> tuple[str, str]:
    """Submit a job of a prompt; return its id and the trace's, once it has ended."""
    order = {"prompt": prompt, "size": "256x256"}
    job_id, trace_id = in_new_trace(runtime, "/v1/generations", order)
    runtime.api.finish({"id": job_id})
    return job_id, trace_id


def wait_for_tree(collector: Collector, trace_id: str, route: str, parts: list[Any]) -> None:
    """Wait until the trace has exactly these spans below that of its submission."""
    tree = [[f"POST {route}", [["create image_generation", parts]]]]
    try:
        wait_until(lambda: collector.tree(trace_id, CALLER) == tree, PATIENCE_SECONDS, "spans")
    except AssertionError:
        assert collector.tree(trace_id, CALLER) == tree


def named(collector: Collector, trace_id: str, name: str) -> list[ReceivedSpan]:
    """Return the spans of a name, in the order of their starts."""
    return [span for span in collector.spans(trace_id) if span.name == name]


def test_a_job_is_one_trace(own_runtime: Runtime, collector: Collector) -> None:
    """From the client's own span to the image, by OpenTelemetry's conventions."""
    job_id, trace_id = submit(own_runtime, "a mug of Prussian blue")
    wait_for_tree(collector, trace_id, "/v1/generations", [SENT, ATTEMPT])
    spans = {span.name: span for span in collector.spans(trace_id)}
    request = spans["POST /v1/generations"]
    message = {
        "messaging.destination.name": "image_generation",
        "darkroom.job.id": job_id,
    }
    assert {name: (span.kind, span.links) for name, span in spans.items()} == {
        "POST /v1/generations": ("server", ()),
        "create image_generation": ("producer", ()),
        "send image_generation": ("producer", ()),
        "process image_generation": ("consumer", ()),
        "generate_content mock-1": ("client", ()),
        "save image": ("internal", ()),
    }
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/generations",
        "http.response.status_code": 202,
        "network.protocol.version": "1.1",
        "url.scheme": "http",
        "url.path": "/v1/generations",
    }
    for name in ("create", "send", "process"):
        operation = {"messaging.operation.name": name, "messaging.operation.type": name}
        found = spans[f"{name} image_generation"].attributes
        assert {**message, **operation}.items() <= found.items()
    attempt = spans["process image_generation"].attributes
    assert (attempt["darkroom.attempt"], attempt["darkroom.outcome"]) == (1, "completed")
    assert spans["generate_content mock-1"].attributes == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": "mock",
        "gen_ai.request.model": "mock-1",
    }
    assert not any(span.is_error for span in spans.values())
    about = {
        "service.name": "darkroom",
        "service.version": __version__,
        "deployment.environment.name": "test",
    }
    assert all(about.items() <= span.resource.items() for span in spans.values())


def test_no_span_holds_what_is_secret(own_runtime: Runtime, collector: Collector) -> None:
    """No prompt, key, token of an address or message of an error; the collector gets its key."""
    receiver_key = "T0KEN-of-a-receiver"
    with receiving() as receiver:
        let_know(own_runtime, f"{receiver.url('/')}{receiver_key}/ok?key={receiver_key}")
        job_id, _ = submit(own_runtime, "a mug of Prussian blue")
        job = own_runtime.api.get({"id": job_id})
        assert http_get(f"{own_runtime.api.url}{job['images'][0]['url']}").status_code == 200
        _, trace_id = submit(own_runtime, "[[reject]] a mug of Prussian blue")
        wait_for_tree(collector, trace_id, "/v1/generations", [SENT, FAILED_ATTEMPT])
        wait_until(lambda: b"/v1/images/{image_id}" in b"".join(collector.bodies), 20, "the image")
        wait_until(lambda: b"generation.completed" in b"".join(collector.bodies), 20, "the POST")
    for call in named(collector, trace_id, "generate_content mock-1"):
        assert (call.is_error, call.attributes["error.type"]) == (True, "prompt_rejected")
    text = b"".join(collector.bodies)
    token = job["images"][0]["url"].partition("token=")[2]
    key = own_runtime.api.keys["default"]
    for secret in ("Prussian", token, key, receiver_key, "the key"):
        assert secret.encode() not in text
    assert collector.headers["x-collector-key"] == "the key"


def test_an_attempt_links_to_the_one_before(own_runtime: Runtime, collector: Collector) -> None:
    """Each is a span of the job's trace, whichever process runs it."""
    _, trace_id = submit(own_runtime, "[[fail:1]] a red mug")
    parts = [SENT, FAILED_ATTEMPT, SENT, ATTEMPT]
    wait_for_tree(collector, trace_id, "/v1/generations", parts)
    first, second = named(collector, trace_id, "process image_generation")
    assert (first.links, second.links) == ((), (first.id,))
    assert (first.is_error, second.is_error) == (True, False)
    assert first.attributes["error.type"] == "provider_unavailable"
    numbers = [span.attributes["darkroom.attempt"] for span in (first, second)]
    outcomes = [span.attributes["darkroom.outcome"] for span in (first, second)]
    assert (numbers, outcomes) == ([1, 2], ["retry", "completed"])


def test_a_retried_job_links_to_the_old_one(own_runtime: Runtime, collector: Collector) -> None:
    """It is a trace of its own, which follows the last attempt of the old job."""
    old_id, old_trace_id = submit(own_runtime, "[[reject]] a red mug")
    path = "/v1/generations/{job_id}/retry"
    new_id, trace_id = in_new_trace(own_runtime, path.format(job_id=old_id), {})
    own_runtime.api.finish({"id": new_id})
    wait_for_tree(collector, trace_id, path, [SENT, FAILED_ATTEMPT])
    [created] = named(collector, trace_id, "create image_generation")
    [attempt] = named(collector, old_trace_id, "process image_generation")
    assert created.links == (attempt.id,)


def test_deliveries_of_webhooks_are_spans(own_runtime: Runtime, collector: Collector) -> None:
    """One for each try; the receiver may continue the trace."""
    with receiving() as receiver:
        let_know(own_runtime, receiver.url("/500-ok"))
        _, trace_id = submit(own_runtime, "a red mug")
        wait_for_tree(collector, trace_id, "/v1/generations", [SENT, ATTEMPT, "POST", "POST"])
        parents = [received.headers["traceparent"] for received in receiver.at("/500-ok")]
    tries = named(collector, trace_id, "POST")
    assert [f"00-{trace_id}-{span.id}-01" for span in tries] == parents
    assert [span.kind for span in tries] == ["client", "client"]
    assert [span.is_error for span in tries] == [True, False]
    first, second = [span.attributes for span in tries]
    assert first["http.response.status_code"] == 500
    assert first["error.type"] == "500"
    assert second["http.response.status_code"] == 200
    assert second["http.request.resend_count"] == 1
    assert first["server.address"] == "127.0.0.1"
    assert first["darkroom.webhook.event"] == "generation.completed"


def test_lines_name_the_request_and_its_trace(own_runtime: Runtime) -> None:
    """Those of the API and those of the job."""
    _, trace_id = submit(own_runtime, "a red mug")
    ids = {"request_id": f"order-{trace_id}", "trace_id": trace_id}

    def named_lines() -> list[str]:
        lines = [*own_runtime.api.log.lines(), *own_runtime.log_lines()]
        return [line["event"] for line in lines if ids.items() <= line.items()]

    wanted = ["request", "attempt started", "attempt ended"]
    wait_until(lambda: named_lines() == wanted, 10, "the last line")


def test_a_collector_that_hangs_harms_no_job(own_runtime: Runtime, collector: Collector) -> None:
    """Jobs run, and processes stop, as they do without one; traces come when it works again."""
    runtime, collector.manner = own_runtime, "hangs"
    began_at = time.monotonic()
    for _ in range(3):
        submit(runtime, "a red mug")
    assert time.monotonic() - began_at < 15
    stopping_at = time.monotonic()
    runtime.process.stop()
    assert time.monotonic() - stopping_at < 8
    collector.manner = "takes"
    runtime.process.start()
    submit(runtime, "a red mug")

    def comes_through() -> bool:
        _, trace_id = submit(runtime, "a red mug")
        names = {span.name for span in collector.spans(trace_id)}
        return {"POST /v1/generations", "process image_generation"} <= names

    wait_until(comes_through, 40, "traces to come again")

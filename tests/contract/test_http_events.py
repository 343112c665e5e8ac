"""Events over HTTP: replayed, live, each once and in order; the end in any case."""

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import httpx
import pytest

from shared.status import COMPLETED, QUEUED
from tests.support.api import ReceivedEvent, http_get
from tests.support.faults import cut_redis_connections
from tests.support.runtime import Runtime
from tests.support.story import PLAIN
from tests.support.wait import wait_until


def stream_of(runtime: Runtime, job: dict[str, Any]) -> list[ReceivedEvent]:
    """Return what Redis holds of the job, in the form of events over HTTP."""
    entries: Any = runtime.redis_client.xrange(f"task_events:{job['task_id']}")
    return [ReceivedEvent(entry_id, fields["event"]) for entry_id, fields in entries]


def steps_of(received: list[ReceivedEvent]) -> list[dict[str, Any]]:
    """Return the three keys of each event."""
    return [dict(event.step) for event in received]


def plain() -> list[dict[str, Any]]:
    """Return the events of a plain job."""
    return [step.as_dict() for step in PLAIN]


@contextmanager
def in_background(work: Callable[[], list[ReceivedEvent]]) -> Any:
    """Run the work in a thread; the value is its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def wait_for_progress(runtime: Runtime, job: dict[str, Any], progress: int) -> None:
    """Wait until the job has published so many events."""
    wait_until(
        lambda: any(event.step["progress"] >= progress for event in stream_of(runtime, job)),
        20,
        f"the job to reach {progress}",
    )


def test_events_are_those_of_the_stream_byte_for_byte(runtime: Runtime) -> None:
    """`data:` is the JSON of the channel, `id:` the entry's; nothing else is sent."""
    job = runtime.api.submit("a red mug")
    received = runtime.api.follow(job["urls"]["events"])
    assert received == stream_of(runtime, job)
    assert steps_of(received) == plain()
    assert [event.data for event in received] == runtime.channel.of(job["task_id"])


def test_reply_is_what_event_source_needs(runtime: Runtime) -> None:
    """Its media type, no caching, no buffering, `retry:`, no event names; 204 after the end."""
    job = runtime.api.submit("a red mug")
    runtime.api.finish(job)
    answer = http_get(runtime.api.url + job["urls"]["events"])
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.text.startswith("retry: ")
    assert "event:" not in answer.text
    last = stream_of(runtime, job)[-1]
    for request in (
        {"headers": {"Last-Event-ID": last.id}},
        {"params": {"last_event_id": last.id}},
    ):
        url = httpx.URL(runtime.api.url + job["urls"]["events"])
        again = http_get(
            url.copy_merge_params(request.get("params", {})), headers=request.get("headers")
        )
        assert (again.status_code, again.content) == (204, b"")


def test_client_cut_off_after_each_event_sees_the_same(runtime: Runtime) -> None:
    """Each once and in order, whether the job runs meanwhile or has ended."""
    api = runtime.api
    job = api.submit("a red mug [[slow:0.2]]")
    assert api.follow(job["urls"]["events"], cut_after=1) == stream_of(runtime, job)
    assert api.follow(job["urls"]["events"], cut_after=1) == stream_of(runtime, job)


def test_many_clients_who_come_at_any_time_see_the_same(runtime: Runtime) -> None:
    """From before the first event to after the last."""
    api = runtime.api
    job = api.submit("a red mug [[slow:0.3]]")
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        followers: list[Future[list[ReceivedEvent]]] = []
        for _ in range(8):
            followers.append(pool.submit(api.follow, job["urls"]["events"]))
            stop.wait(0.2)
        received = [follower.result(40) for follower in followers]
    assert received == [stream_of(runtime, job)] * 8


def test_last_event_id_of_the_header_wins_and_is_checked(runtime: Runtime) -> None:
    """It comes from outside: anything but an id is refused."""
    api = runtime.api
    job = api.submit("a red mug")
    api.finish(job)
    events = stream_of(runtime, job)
    assert api.follow(job["urls"]["events"], after=events[3].id) == events[4:]
    for wrong in ("x", "1-2-3", "-1", "1-", "9" * 30, "$", ">", "+"):
        answer = http_get(api.url + job["urls"]["events"], headers={"Last-Event-ID": wrong})
        assert api.problem(answer) == (422, "invalid_request")


def test_quiet_stream_is_kept_open_or_comes_back(runtime: Runtime) -> None:
    """A long silence of a job costs no client an event."""
    api = runtime.api
    job = api.submit("a mug [[hang]]")
    received = api.follow(job["urls"]["events"])
    assert received == stream_of(runtime, job)
    assert received[-1].step["message"] == "Stopped at the soft time limit of 3 s"


@pytest.mark.parametrize("fault", ["cut", "restart"])
def test_streams_outlive_faults_of_redis(runtime: Runtime, fault: str) -> None:
    """Events from before and after arrive, each once."""
    api = runtime.api
    job = api.submit("a red mug [[slow:0.5]]")
    with in_background(lambda: api.follow(job["urls"]["events"])) as following:
        wait_for_progress(runtime, job, 30)
        if fault == "cut":
            cut_redis_connections(runtime)
        else:
            runtime.redis.kill()
            runtime.redis.start()
        received = following.result(40)
    api.finish(job)
    assert received[-1].is_last
    assert len({event.id for event in received}) == len(received)
    stream = iter(stream_of(runtime, job))
    assert all(event in stream for event in received), "out of order, or not of the stream"
    if fault == "cut":
        assert steps_of(received) == plain()


def test_end_is_delivered_when_redis_forgot_the_job(runtime: Runtime) -> None:
    """From the row, with an id that marks the client as having received everything."""
    api = runtime.api
    job = api.submit("a red mug")
    api.finish(job)
    wait_until(lambda: runtime.job_is_announced(job), 20, "the end to be announced")
    for key in runtime.redis_client.scan_iter(f"task_*{job['task_id']}"):
        runtime.redis_client.delete(key)
    for after in (None, "5-0"):
        [last] = api.follow(job["urls"]["events"], after=after)
        assert last.step == COMPLETED.as_dict()
        url, headers = api.url + job["urls"]["events"], {"Last-Event-ID": last.id}
        assert http_get(url, headers=headers).status_code == 204
    # Its stream is lost for good, which no test leaves behind otherwise.
    runtime.forget_jobs()


def test_end_is_delivered_when_redis_was_emptied_in_the_middle(runtime: Runtime) -> None:
    """An open stream of which Redis has lost everything ends all the same."""
    api = runtime.api
    job = api.submit("a red mug [[slow:0.5]]")
    with in_background(lambda: api.follow(job["urls"]["events"])) as following:
        wait_for_progress(runtime, job, 30)
        runtime.redis_client.flushall()
        received = following.result(40)
    assert received[-1].step == COMPLETED.as_dict()
    assert [event.is_last for event in received].count(True) == 1


def test_end_is_delivered_while_redis_is_down(runtime: Runtime) -> None:
    """The job ends, no event can be published, and the client learns it from the row."""
    api = runtime.api
    job = api.submit("a red mug [[slow:0.4]]")
    # It has come before Redis goes, however long its first connection takes.
    with api.stream(job["urls"]["events"]) as events:
        first = next(event for event in events if event.data)
    assert first.data == QUEUED.as_json()
    with in_background(lambda: api.follow(job["urls"]["events"], first.id)) as following:
        wait_for_progress(runtime, job, 30)
        runtime.redis.kill()
        received = following.result(40)
        runtime.redis.start()
    assert first.id not in [event.id for event in received]
    assert received[-1].step["status"] in ("completed", "failed")
    assert received[-1].step["status"] == api.finish(job)["status"]


def test_end_is_delivered_when_the_publisher_was_killed(runtime: Runtime) -> None:
    """The sweep says what the worker could not."""
    api = runtime.api
    job = api.submit("a mug [[crash]]")
    received = api.follow(job["urls"]["events"])
    assert received == stream_of(runtime, job)
    assert received[-1].step["message"] == "The worker was lost during attempt 3"


def test_streams_go_on_when_the_api_is_restarted(runtime: Runtime) -> None:
    """In order or killed: the client comes back with its last id, and misses nothing."""
    api = runtime.api
    for end in (api.process.stop, api.process.kill):
        job = api.submit("a red mug [[slow:0.6]]")
        with in_background(partial(api.follow, job["urls"]["events"])) as following:
            wait_for_progress(runtime, job, 30)
            end()
            api.process.start()
            received = following.result(40)
        assert received == stream_of(runtime, job)
        assert steps_of(received) == plain()


def test_open_streams_of_a_workspace_are_limited(runtime: Runtime) -> None:
    """Another is asked to come back, as an EventSource ends at 429; one that ends makes room."""
    api = runtime.open_api
    with runtime.paused():
        job = api.submit("a red mug")
        url = job["urls"]["self"] + "/events"
        last = {"Last-Event-ID": "9999999999999-0"}
        with ExitStack() as undo:
            pool = undo.enter_context(ThreadPoolExecutor(2))
            for _ in range(2):
                client = undo.enter_context(httpx.Client(base_url=api.url, timeout=30))
                pool.submit(_read_all, client, url, last)
            wait_until(lambda: open_streams(runtime) == 2, 10, "both streams to be counted")
            answer = api.client.get(url, headers=last)
            assert_comes_again(answer)
            api.client.post(job["urls"]["cancel"])
        wait_until(lambda: open_streams(runtime) == 0, 15, "the streams to be given back")


def test_event_stream_is_no_error_while_postgresql_is_unavailable(runtime: Runtime) -> None:
    """An EventSource ends for good at any status but 200; it is asked to come back."""
    api = runtime.api
    job = api.finish(api.submit("a red mug"))
    runtime.postgres.kill()
    assert_comes_again(api.client.get(job["urls"]["self"] + "/events"))
    assert_comes_again(api.client.get(job["urls"]["events"]))
    runtime.postgres.start()
    wait_until(lambda: api.client.get("/readyz").status_code == 200, 20, "the API to be ready")
    assert api.follow(job["urls"]["events"]).pop().step == COMPLETED.as_dict()


def assert_comes_again(answer: httpx.Response) -> None:
    """Check that a stream holds nothing but the time after which its client reconnects."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert re.fullmatch(r"retry: [0-9]+\n\n", answer.text)


def test_clients_that_leave_leave_nothing_behind(runtime: Runtime) -> None:
    """Neither a slot of the workspace nor a subscription."""
    api = runtime.api
    with runtime.paused():
        job = api.submit("a red mug")
        for _ in range(10):
            with api.stream(job["urls"]["events"]) as events:
                assert next(event for event in events if event.data).data == QUEUED.as_json()
        wait_until(lambda: open_streams(runtime) == 0, 15, "the slots to be given back")
        channel = f"task_updates:{job['task_id']}"
        wait_until(lambda: subscribers(runtime, channel) == 0, 15, "no subscriber to be left")


def test_made_up_last_ids_do_not_hide_the_end(runtime: Runtime) -> None:
    """Nor does one that only an ended job could have given."""
    api = runtime.api
    for made_up in ("9999999999999-0", f"5-{2**64 - 1}"):
        with ThreadPoolExecutor(1) as pool:
            with runtime.paused():
                job = api.submit("a red mug")
                following = pool.submit(api.follow, job["urls"]["events"], after=made_up)
                wait_until(lambda: open_streams(runtime) == 1, 15, "the job to be followed")
            assert following.result().pop().step == COMPLETED.as_dict()


def test_an_id_ahead_of_the_stream_is_its_end_and_harms_no_other_client(runtime: Runtime) -> None:
    """Such a client gets what comes from now on; one that follows the same job gets everything."""
    api = runtime.api
    with ThreadPoolExecutor(2) as pool:
        with runtime.paused():
            job = api.submit("a red mug")
            url = job["urls"]["events"]
            ahead = pool.submit(api.follow, url, after="9999999999999-0")
            wait_until(lambda: open_streams(runtime) == 1, 15, "the job to be followed")
            other = pool.submit(api.follow, url)
            wait_until(lambda: open_streams(runtime) == 2, 15, "both to follow the job")
        everything, received = other.result(), ahead.result()
    assert everything == stream_of(runtime, job)
    assert received == everything[-len(received) :]
    assert 1 < len(received) < len(everything)


def _read_all(client: httpx.Client, url: str, headers: dict[str, str]) -> None:
    client.get(url, headers=headers)


def open_streams(runtime: Runtime) -> int:
    """Return how many slots are taken."""
    return int(runtime.redis_client.zcard("open_streams:default"))  # type: ignore[arg-type]


def subscribers(runtime: Runtime, channel: str) -> int:
    """Return how many listen to a channel by its name."""
    ((_, count),) = cast(Any, runtime.redis_client.pubsub_numsub(channel))
    return int(count)


def test_events_in_detail_bring_the_job_before_the_last_of_them(runtime: Runtime) -> None:
    """Why and until when it waits, and its images before its end; ids stay those of events."""
    api = runtime.api
    job = api.submit("a red mug [[fail:1]]")
    received: list[tuple[str, dict[str, Any]]] = []
    last_id = None
    while not received or received[-1][1]["status"] not in ("completed", "failed"):
        with api.stream(f"{job['urls']['events']}&detail=full", last_id) as events:
            for event in events:
                if event.data:
                    received.append((event.event, json.loads(event.data)))
                    last_id = event.id
    steps = [body for kind, body in received if kind == "message"]
    assert steps == steps_of(stream_of(runtime, job))
    waiting = [body["retry"] for kind, body in received if kind == "job" and body["retry"]]
    assert {(wait["attempt"], wait["code"]) for wait in waiting} == {(2, "provider_unavailable")}
    (kind, last_job), (_, last_step) = received[-2:]
    assert (kind, last_job["status"], last_step["status"]) == ("job", "completed", "completed")
    assert [image["id"] for image in last_job["images"]] == [
        image["id"] for image in api.get(job)["images"]
    ]


def test_a_job_is_sent_in_one_form_of_detail(runtime: Runtime) -> None:
    """Another is refused; without it nothing but events is sent."""
    api = runtime.api
    job = api.submit("a red mug")
    api.finish(job)
    url = api.url + job["urls"]["events"]
    assert api.problem(http_get(f"{url}&detail=half")) == (422, "invalid_request")
    assert "event: job" not in http_get(url).text
    assert http_get(f"{url}&detail=full").text.count("event: job") == 1

"""One stream of events, however it is read: by curl, by httpx-sse and by EventSource."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.api import ReceivedEvent
from tests.support.browser import Browsing
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

Sequence = list[tuple[str, str]]

CUT_AT_EVERY_EVENT = """
(url) => {
  const received = (window.receivedByCut = []);
  const connect = (after) => {
    const address = new URL(url, location.href);
    if (after) address.searchParams.set("last_event_id", after);
    const source = new EventSource(address);
    source.onmessage = ({ lastEventId, data }) => {
      source.close();
      received.push([lastEventId, data]);
      if (!["completed", "failed"].includes(JSON.parse(data).status)) connect(lastEventId);
    };
  };
  connect();
}
"""

LEFT_ALONE = """
(url) => {
  window.toldAlone = [];
  window.sourceAlone = new EventSource(url);
  window.sourceAlone.onmessage = ({ lastEventId, data }) => {
    window.toldAlone.push([lastEventId, data]);
  };
}
"""


def _next_of_curl(url: str, after: str) -> ReceivedEvent | None:
    """Return the event after the given one; curl is killed as soon as it has come."""
    command = ["curl", "-sN", "--max-time", "40", "-H", f"Last-Event-ID: {after}", url]
    event_id = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        for line in curl.stdout:
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                curl.kill()
                return ReceivedEvent(event_id, value)
    return None


def _follow_with_curl(url: str) -> Sequence:
    received = [ReceivedEvent("0-0", "{}")]
    while len(received) == 1 or not received[-1].is_last:
        event = _next_of_curl(url, received[-1].id)
        # Without one the answer's window was over: curl comes back.
        received += [event] if event else []
    return _pairs(received[1:])


def _pairs(received: list[ReceivedEvent]) -> Sequence:
    return [(event.id, event.data) for event in received]


def test_curl_httpx_and_eventsource_see_the_identical_sequence(
    runtime: Runtime, browsing: Browsing
) -> None:
    """While the job runs, each cut off at every event; one EventSource is left alone."""
    api = runtime.page_api
    page = browsing.open(api, "/healthz").page
    job = api.submit("A ceramic mug [[fail:1]] [[slow:2]]")
    events = job["urls"]["events"]
    page.evaluate(CUT_AT_EVERY_EVENT, events)
    page.evaluate(LEFT_ALONE, events)
    with ThreadPoolExecutor(2) as pool:
        of_curl = pool.submit(_follow_with_curl, api.url + events)
        of_httpx = pool.submit(api.follow, events, None, 1)
        sequences = {"curl": of_curl.result(), "httpx-sse": _pairs(of_httpx.result())}
    is_closed = "window.sourceAlone.readyState === EventSource.CLOSED"
    wait_until(lambda: page.evaluate(is_closed), 30, "the EventSource left alone to stop")
    sequences["EventSource, cut"] = _in_page(page.evaluate("window.receivedByCut"))
    sequences["EventSource, left alone"] = _in_page(page.evaluate("window.toldAlone"))
    entries: Any = runtime.redis_client.xrange(f"task_events:{job['task_id']}")
    stream = [(event_id, fields["event"]) for event_id, fields in entries]
    assert len(stream) > 10
    assert all(re.fullmatch(r"\d+-\d+", event_id) for event_id, _ in stream)
    assert sequences == dict.fromkeys(sequences, stream)


def _in_page(received: list[list[str]]) -> Sequence:
    return [(event_id, data) for event_id, data in received]

"""Drills of a bad day, at any size: receivers of webhooks that misbehave, a provider that is down.

The contract tests play them small, `tests.drills` at full size. Promises are checked from outside.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from shared.jobs.model import Job
from shared.webhooks.sender import JITTER
from tests.support.cli import darkroom
from tests.support.images_api import ImagesApi
from tests.support.receiver import Received, Receiver
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

EVENTS = [
    *("generation.started", "generation.retrying", "generation.completed", "generation.failed"),
]
MANNERS = ("ok", "~500", "~302", "~hang", "~reset", "reset-ok", "410")
"""Of seven receivers: `reset-ok` loses half of its answers, and the last is gone."""

PROMPTS = ("a mug", "[[fail:1]] a mug", "[[reject]] a mug")

CLOCK_SECONDS = 0.1
"""By which the clocks of PostgreSQL's rows and of the receiver may differ in a try."""

PRICE = 40_000


def play_webhooks(
    runtime: Runtime,
    receiver: Receiver,
    jobs: int,
    faults: Sequence[Callable[[Runtime], None]] = (),
    within: float = 120,
) -> int:
    """Run jobs while receivers misbehave and faults happen; return how many requests came.

    Raises:
        AssertionError: An event was lost or came too early, out of order, or under two ids.
    """
    store, hooks = runtime.services.webhooks, _hooks(runtime, receiver)
    submitted: list[Job] = []
    portion = -(-jobs // (len(faults) + 1))
    for number in range(jobs):
        if number and number % portion == 0:
            faults[number // portion - 1](runtime)
        submitted.append(runtime.submit(PROMPTS[number % len(PROMPTS)]))
    expected = {str(job.id): _events_of(runtime, job, within) for job in submitted}
    wait_until(lambda: _waiting(runtime) == 0, within, "all deliveries to be over")
    for manner in MANNERS[:-1]:
        received = receiver.at(f"/drill/{manner}")
        _assert_promises(received, expected, runtime.settings.webhook_retry_seconds)
    [gone] = store.list("default", hooks["410"])
    assert gone.disabled_reason == "answered 410"
    assert receiver.at("/drill/410")
    assert not receiver.at("/redirected/ok")
    return sum(len(receiver.at(f"/drill/{manner}")) for manner in MANNERS)


@contextmanager
def with_receivers(runtime: Runtime, receiver: Receiver) -> Iterator[None]:
    """Have the receivers get the events of what happens meanwhile, and none after it."""
    hooks = _hooks(runtime, receiver)
    yield
    for hook in hooks.values():
        runtime.services.webhooks.delete("default", hook)


def _hooks(runtime: Runtime, receiver: Receiver) -> dict[str, UUID]:
    urls = {manner: receiver.url(f"/drill/{manner}") for manner in MANNERS}
    create = runtime.services.webhooks.create
    return {manner: create("default", url, EVENTS)[0].id for manner, url in urls.items()}


def _events_of(runtime: Runtime, job: Job, within: float) -> list[str]:
    """Wait for the end of a job; return its events as its ledger has them, retries apart."""
    rows = runtime.finish(job, within)
    is_completed = rows.job["status"] == "COMPLETED"
    assert is_completed is ("reject" not in rows.job["params"]["prompt"])
    end = "generation.completed" if is_completed else "generation.failed"
    return ["generation.started"] * len(rows.attempts) + [end]


def _waiting(runtime: Runtime) -> int:
    with runtime.database() as cursor:
        # What a disabled webhook has left waits until it is enabled.
        cursor.execute(
            "SELECT count(*) FROM webhook_deliveries JOIN webhooks ON webhooks.id = webhook_id"
            " WHERE next_try_at IS NOT NULL AND disabled_at IS NULL"
        )
        return int(cursor.fetchone()["count"])


def _assert_promises(
    received: Sequence[Received], expected: Mapping[str, list[str]], delays: Sequence[float]
) -> None:
    tries: dict[str, list[Received]] = defaultdict(list)
    events: dict[str, list[str]] = defaultdict(list)
    for each in received:
        if each.id not in tries:
            events[each.event["data"]["id"]].append(each.event["type"])
        tries[each.id].append(each)
    assert {
        job: [event for event in names if event != "generation.retrying"]
        for job, names in events.items()
    } == expected
    for of_one in tries.values():
        assert len({each.body for each in of_one}) == 1
        for delay, earlier, later in zip(delays, of_one, of_one[1:], strict=False):
            assert later.at - earlier.at >= delay * (1 - JITTER) - CLOCK_SECONDS


def kill_and_start(runtime: Runtime) -> None:
    """Kill -9 every process of the runtime, and start it again."""
    runtime.kill_machine()
    runtime.start()


def restart_postgres(runtime: Runtime) -> None:
    """Kill PostgreSQL, and start it again."""
    runtime.postgres.kill()
    runtime.postgres.start()
    runtime.services.engine.dispose()


def play_outage(runtime: Runtime, images_api: ImagesApi, jobs: int, within: float = 120) -> None:
    """Have a provider fail all attempts of jobs, then retry them in bulk when it is back.

    Raises:
        AssertionError: A job has no picture, or what was charged does not add up.
    """
    attempts = runtime.settings.max_attempts
    prompts = [f"mug {number} <<overloaded:{attempts}>>" for number in range(jobs)]
    submitted = [runtime.submit(prompt, size="1024x1024") for prompt in prompts]
    for job in submitted:
        rows = runtime.finish(job, within)
        assert rows.job["error"]["code"] == "provider_overloaded"
        assert [line["charge_state"] for line in rows.attempts] == ["none"] * attempts
    assert _cost(runtime) == (0, 0)
    words = ("retry", "--since", "1h", "--code", "provider_overloaded", "--rate", "20/s")
    retried = _printed(runtime, "failed", *words)
    assert {row["retry_of"] for row in retried} == {str(job.id) for job in submitted}
    for row in retried:
        new = runtime.finish(runtime.services.get(row["id"]), within)
        assert (new.job["status"], len(new.images)) == ("COMPLETED", 1)
        assert [line["charge_state"] for line in new.attempts] == ["charged"]
    assert _cost(runtime) == (jobs * PRICE, jobs)
    assert len(images_api.calls) == jobs * (attempts + 1)
    assert _printed(runtime, "failed", "list", "--since", "1h") == []


def _cost(runtime: Runtime) -> tuple[int, int]:
    rows = _printed(runtime, "costs", "--since", "1h")
    return (
        sum(row["price_microdollars"] for row in rows),
        sum(row["charged_calls"] for row in rows),
    )


def _printed(runtime: Runtime, *words: str) -> list[dict[str, Any]]:
    done = darkroom(runtime.environment, *words, "--json")
    assert done.returncode == 0, done.stderr
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items

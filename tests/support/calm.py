"""What holds once faults are over: the trouble of one job, client or request is no other's.

Checked at the end of each round of `make torture`.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID, uuid4

from shared.events.event import is_of_row
from shared.jobs.model import Job
from tests.support.api import SMALL
from tests.support.faults import claim_on_lost_machine, paused_provider
from tests.support.runtime import Rows, Runtime

PATIENCE_SECONDS = 30.0
"""A breaker's pause, a lease, some sweeps, and what a busy machine adds."""

FAR_AHEAD = f"{2**50}-0"
"""The id of an event of a far future."""

SETTLE_SECONDS = 1.0
"""What is saved so shortly before the end of a job may be a late attempt's."""


def assert_calm(runtime: Runtime) -> None:
    """Check what one job, client or request must not do to others."""
    assert_locked_rows_stop_no_other(runtime)
    assert_id_ahead_silences_no_client(runtime)
    assert_key_outlives_its_job(runtime)


def assert_locked_rows_stop_no_other(runtime: Runtime) -> None:
    """A waiting and a lost job are locked by another program: those behind them go on."""
    with ExitStack() as unlock:
        with paused_provider(runtime):
            locked = [runtime.accept("a locked mug") for _ in range(2)]
            others = [runtime.accept("a mug") for _ in range(2)]
            for lost in (locked[1], others[1]):
                claim_on_lost_machine(runtime, lost)
            unlock.enter_context(runtime.locked_row(*locked))
        for job in others:
            assert runtime.finish(job, PATIENCE_SECONDS).job["status"] == "COMPLETED"
        for job in locked:
            assert runtime.rows(job).job["finished_at"] is None
    for job in locked:
        runtime.finish(job, PATIENCE_SECONDS)


def assert_id_ahead_silences_no_client(runtime: Runtime) -> None:
    """It counts as the end of the stream: its client, and all others, receive what follows."""
    api = runtime.api
    job = api.submit("a mug [[slow:1]]")
    url = job["urls"]["events"]
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(api.follow, url, FAR_AHEAD)
        received = api.follow(url)
        assert not is_of_row(ahead.result()[-1].id), "a client ahead received no event"
    assert not is_of_row(received[-1].id), "a client received the end from the row alone"
    steps = [step.as_json() for step in runtime.steps(runtime.services.get(UUID(job["id"])))]
    assert [event.data for event in received] == steps


def assert_key_outlives_its_job(runtime: Runtime) -> None:
    """A request that is repeated after its job was deleted makes no second one."""
    client, headers = runtime.api.client, {"Idempotency-Key": str(uuid4())}
    body = {"prompt": "a mug", **SMALL}
    job = client.post("/v1/generations", json=body, headers=headers).json()
    runtime.finish(runtime.services.get(UUID(job["id"])), PATIENCE_SECONDS)
    answer = client.delete(f"/v1/generations/{job['id']}")
    assert answer.status_code == 204, answer.text
    answer = client.post("/v1/generations", json=body, headers=headers)
    assert answer.status_code in (409, 410), answer.text


def assert_saved_images_were_used(runtime: Runtime, job: Job, rows: Rows) -> None:
    """A job has not failed with images that were saved, and so paid for, before its end."""
    if rows.job["status"] != "FAILED":
        return
    ended_at = rows.job["finished_at"].timestamp()
    saved = [
        key
        for key in runtime.saved_keys(job)
        if (runtime.image_dir / key).stat().st_mtime < ended_at - SETTLE_SECONDS
    ]
    assert saved == [], f"{rows.job['error']}: thrown away"

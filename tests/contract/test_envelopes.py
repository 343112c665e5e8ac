"""Messages that are not ours: logged with the reason, gone in the end, and no harm done."""

from uuid import uuid4

from tests.support.runtime import Runtime
from tests.support.story import outcomes
from tests.support.wait import wait_until


def test_envelopes_that_are_not_ours_are_logged_and_do_not_stop_the_runtime(
    runtime: Runtime,
) -> None:
    """Broken ones and one of an unknown job: the same processes run the next job, alone."""
    main_process, logged = runtime.process.pid, len(runtime.log_lines())
    left_by_others = runtime.queue.length()
    unknown = str(uuid4())
    runtime.queue.send_garbage()
    runtime.queue.send(unknown)
    job = runtime.submit("a mug")
    assert outcomes(runtime.finish(job)) == ["completed"]
    wait_until(lambda: runtime.queue.length() <= left_by_others, 30, "the queue to be empty")
    assert runtime.process.is_running
    assert runtime.process.pid == main_process
    lines = [
        line for line in runtime.log_lines()[logged:] if line.get("event") == "envelope rejected"
    ]
    assert {line["code"] for line in lines} == {"malformed_envelope", "unknown_job"}
    assert all(line["reason"] and line["level"] == "error" for line in lines)
    assert f"no job {unknown!r}" in [line["reason"] for line in lines]


def test_envelopes_that_are_not_ours_are_kept_for_operators(runtime: Runtime) -> None:
    """Once each, with the reason and what they held; any number of them takes bounded room."""
    kept = runtime.services.rejected
    kept.purge()
    unknown = str(uuid4())
    sent = runtime.queue.send_garbage()
    runtime.queue.send(unknown)
    wait_until(lambda: len(kept.list(100)) == sent + 1, 20, "all to be kept")
    found = kept.list(100)
    assert {envelope.code for envelope in found} == {"malformed_envelope", "unknown_job"}
    [lost] = (envelope for envelope in found if envelope.code == "unknown_job")
    assert unknown in lost.body
    assert lost.reason == f"no job {unknown!r}"
    assert all(envelope.reason for envelope in found)
    assert {"{not json", '{"job_id": 5}'} <= {envelope.body for envelope in found}
    assert kept.purge() == sent + 1
    # Where a queue delivers them again, none is kept twice.
    wait_until(lambda: runtime.queue.length() == 0, 30, "the queue to be empty")
    assert kept.list(1) == []

"""The file by which a container's health check sees a worker or beat at work."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.asynchronous.timer import Timer
from structlog.testing import capture_logs

from local.worker.heartbeat import HEARTBEAT_SECONDS, BeatScheduler, HeartbeatStep, beat


def consumer_with(path: Path | None) -> Any:
    """Return as much of a worker's consumer as the step looks at, with a real timer."""
    settings = SimpleNamespace(heartbeat_file=path)
    return SimpleNamespace(app=SimpleNamespace(darkroom_settings=settings), timer=Timer())


def app_with(path: Path | None) -> Celery:
    """Return an application without a broker whose beat has nothing to send."""
    app = Celery("tests", broker="memory://", set_as_current=False)
    app.darkroom_settings = SimpleNamespace(heartbeat_file=path)
    return app


def test_worker_beats_as_long_as_its_loop_turns(tmp_path: Path) -> None:
    """At once when it begins to consume, then each time its timer is asked."""
    path = tmp_path / "heartbeat"
    consumer = consumer_with(path)

    HeartbeatStep(consumer).start(consumer)

    assert path.exists()
    path.unlink()
    [entry] = consumer.timer.queue
    entry.entry()
    assert path.exists()


def test_worker_that_was_given_no_file_sets_no_timer() -> None:
    """As on a laptop."""
    consumer = consumer_with(None)
    HeartbeatStep(consumer).start(consumer)
    assert consumer.timer.queue == []


@pytest.mark.parametrize("exists", [True, False], ids=["file", "no file"])
def test_beat_beats_whenever_it_looks_at_its_schedule(tmp_path: Path, exists: bool) -> None:
    """Often enough for a health check, whatever is due."""
    path = tmp_path / "heartbeat" if exists else None
    scheduler = BeatScheduler(app_with(path), lazy=True)

    assert 0 < scheduler.tick() <= HEARTBEAT_SECONDS

    assert (tmp_path / "heartbeat").exists() == exists


def test_a_file_that_cannot_be_written_stops_no_process(tmp_path: Path) -> None:
    """The health check fails, and a line says why."""
    with capture_logs() as lines:
        beat(tmp_path / "nowhere" / "heartbeat")
    [line] = lines
    assert (line["event"], line["log_level"]) == ("no heartbeat", "warning")
    assert "No such file" in line["reason"]

"""Prometheus reads both runtimes, the dashboard finds data, and alerts fire when they should."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from devkit.runtimes import RUNTIMES
from devkit.stack.server import free_port
from tests.support.prometheus import DASHBOARDS, PROMTOOL, Prometheus, prometheus
from tests.support.runtime import TIMINGS, Runtime
from tests.support.wait import wait_until

CASES = Path(__file__).parents[1] / "cases/alerts/alerts.yml"
DASHBOARD = json.loads((DASHBOARDS / "darkroom.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@contextmanager
def exporter(runtime: Runtime, port: int, log_path: Path) -> Iterator[None]:
    """Run `darkroom metrics --serve`, as beside Lambda."""
    environment = runtime.environment_with({"METRICS_PORT": str(port)})
    with log_path.open("wb") as log:
        command = [sys.executable, "-m", "cli", "metrics", "--serve"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_query_of_the_dashboard_finds_data(name: str, tmp_path: Path) -> None:
    """A worker of Celery serves what it reads from; beside Lambda, a command does."""
    ports = {"worker": free_port(), "command": free_port()}
    with ExitStack() as undo:
        timings = {**TIMINGS, "METRICS_PORT": str(ports["worker"])}
        runtime = undo.enter_context(closing(Runtime(name, tmp_path, timings)))
        if name != "celery":
            del ports["worker"]
        undo.enter_context(exporter(runtime, ports["command"], tmp_path / "metrics.log"))
        server = undo.enter_context(prometheus(tmp_path, [*ports.values()]))
        for prompt in ("a mug", "[[reject]] a mug", "[[fail:1]] a mug"):
            runtime.finish(runtime.submit(prompt))
        wait_until(lambda: server.value("sum(up)") == len(ports), 60, "all ports to be scraped")
        ended = "max without (instance) (darkroom_jobs_total)"
        wait_until(lambda: server.value(f"sum({ended})") == 3, 60, "three jobs to be counted")
        wait_until(lambda: not _without_data(server), 60, "every query to find data")
        assert server.alerts()["DarkroomNoWorker"] == "inactive"


def _without_data(server: Prometheus) -> list[str]:
    return [query for query in QUERIES if not server.query(query.replace("$__rate_interval", "1m"))]


def test_alerts_fire_when_they_should_and_not_before() -> None:
    """Jobs that wait, a provider or webhooks that fail, no worker; by Prometheus's own tool."""
    done = subprocess.run(
        [PROMTOOL, "test", "rules", CASES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

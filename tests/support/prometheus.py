"""A Prometheus server of its own: scrapes what a test names, each second."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from devkit.stack.server import free_port
from tests.support.wait import wait_until

SERVER, PROMTOOL = Path("/usr/bin/prometheus"), Path("/usr/bin/promtool")
"""From Debian's package `prometheus`; .ci/run installs it."""

DASHBOARDS = Path(__file__).parents[2] / "docs/dashboards"


class Prometheus:
    """What a running server answers."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query."""
        answer = httpx.get(f"{self._url}/api/v1/query", params={"query": query}, timeout=30)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def value(self, query: str) -> float:
        """Return the number that a query for one sample finds; 0 for none."""
        return sum(float(sample["value"][1]) for sample in self.query(query))

    def alerts(self) -> dict[str, str]:
        """Return the state of each alert by its name."""
        groups = httpx.get(f"{self._url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        return {rule["name"]: rule["state"] for group in groups for rule in group["rules"]}


@contextmanager
def prometheus(folder: Path, ports: Sequence[int]) -> Iterator[Prometheus]:
    """Run a server that scrapes ports of this machine, with the alerts of the docs."""
    assert SERVER.is_file(), "apt-get install prometheus"
    port = free_port()
    targets = [f"127.0.0.1:{each}" for each in ports]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DASHBOARDS / "alerts.yml")],
        "scrape_configs": [{"job_name": "darkroom", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        str(SERVER),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _is_ready(url), 120, "Prometheus to be ready")
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").is_success
    except httpx.TransportError:
        return False

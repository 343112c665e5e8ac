"""What no program of a runtime starts with: one line says so, and jobs wait in their rows."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from devkit.runtimes import ApiProcess, ProjectProcess, RuntimeProcess
from tests.support.api import KEYED
from tests.support.redis_cluster import ClusteredRedis
from tests.support.runtime import SLOTS, Runtime
from tests.support.wait import wait_until

PROGRAMS = ("runtime", "api")
CLUSTERED = (
    "settings: REDIS_URL names a Redis in cluster mode, which keeps the keys of a job in several "
    "slots. Use one primary with replicas (ElastiCache: cluster mode disabled, not serverless)."
)
SHORT_KEY = "settings: SIGNING_KEY must have at least 32 bytes"


def program(
    runtime: Runtime, name: str, settings: Mapping[str, str], folder: Path
) -> ProjectProcess:
    """Return a program of the runtime with other settings, not started."""
    environment = {**runtime.environment, **KEYED, "API_PORT": "0", **settings}
    if name == "api":
        return ApiProcess(runtime.process.runtime, environment, folder / "log")
    return RuntimeProcess(runtime.process.runtime, environment, folder / "log", SLOTS)


@pytest.fixture
def redis_cluster(tmp_path: Path) -> Iterator[ClusteredRedis]:
    """Give a Redis in cluster mode."""
    with ClusteredRedis(tmp_path / "redis").running() as redis:
        yield redis


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_starts_on_a_redis_in_cluster_mode(
    runtime: Runtime, redis_cluster: ClusteredRedis, tmp_path: Path, name: str
) -> None:
    """The line names the alternative."""
    refused = program(runtime, name, {"REDIS_URL": redis_cluster.url}, tmp_path)
    assert_says_and_runs_nothing(runtime, refused, CLUSTERED)


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_starts_with_a_short_signing_key(
    runtime: Runtime, tmp_path: Path, name: str
) -> None:
    """Addresses that it signs could be forged."""
    refused = program(runtime, name, {"SIGNING_KEY": "k" * 31}, tmp_path)
    assert_says_and_runs_nothing(runtime, refused, SHORT_KEY)


def assert_says_and_runs_nothing(runtime: Runtime, refused: ProjectProcess, line: str) -> None:
    """Start a program in place of the runtime, and wait for its line."""
    runtime.stop()
    job = runtime.accept("a red mug")
    refused.launch()
    try:
        wait_until(lambda: line in refused.log_path.read_text(), 30, "the refusal")
        assert runtime.rows(job).attempts == []
    finally:
        refused.kill()

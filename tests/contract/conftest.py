"""The fixture `runtime`: every contract test runs on both, and leaves nothing behind."""

from collections.abc import Iterator

import pytest

from tests.support.runtime import Runtime
from tests.support.tidiness import assert_tidy


@pytest.fixture(scope="session")
def made_runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runtime]]:
    """Keep each runtime from its first test to the end of the session."""
    made: dict[str, Runtime] = {}
    yield made
    for runtime in made.values():
        runtime.close()


@pytest.fixture(params=["celery", "lambda"])
def runtime(
    request: pytest.FixtureRequest,
    made_runtimes: dict[str, Runtime],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runtime]:
    """A runtime whose servers and processes are up, with no job in it.

    Ends by checking that no key lacks a TTL, no lease is open, no connection is leaked, and
    that rows and events tell the same story.
    """
    name = request.param
    if name not in made_runtimes:
        made_runtimes[name] = Runtime(name, tmp_path_factory.mktemp(name))
    runtime = made_runtimes[name]
    runtime.make_ready()
    yield runtime
    runtime.make_ready()
    assert_tidy(runtime)
    runtime.forget_jobs()
